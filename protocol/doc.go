// Package protocol is the wire: how bytes that a client sends become a request, and how a response becomes bytes. It
// has no sockets and no files; it reads and makes byte slices.
//
// Messages are those of kmsg, which trusts what it decodes: a count in a few bytes can make it allocate eighty times
// the request or loop for minutes. So nothing from a client reaches it unless the guard, Check, has walked the body
// by the shape of its API and version and found that every count and length is real and that the decoded request
// stays within a memory limit. Decode is the guard and kmsg's decoder in one.
//
// The two requests that carry the data have views of their own, so that records are not copied:
//
//   - ProduceRequest reads a Produce request where it lies. Records are slices of the frame.
//   - FetchResponse is a response to Fetch whose records lie in files. It becomes a list of parts, bytes and
//     record.Chunks in turn, that a server writes one after the other.
//
// A frame is read as FrameSize, ParseHeader, and then Decode or ParseProduce; it is written by AppendResponse or
// FetchResponse.Parts.
//
// What holds throughout:
//
//   - No input makes this package panic, or spend time or memory out of proportion to its length.
//   - Errors wrap ErrMalformed, ErrTooLarge or ErrUnsupported. After any of them Kafka closes the connection; only
//     ApiVersions in an unknown version has an answer.
//   - What Decode and ParseHeader return does not refer to the frame; what ParseProduce returns does.
//   - The size that stands before a response is exact and known before the first byte is written.
//
// The functions may be called concurrently. The package has no state but the table of shapes, which is never written.
package protocol
