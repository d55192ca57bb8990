// Package record is the record batch of message format 2 (KIP-98): the unit that producers send, that the log keeps,
// and that consumers fetch, byte for byte the same in all three places.
//
// A [Header] reads and a [Batch] also edits a batch in place, over bytes that belong to the caller; nothing is
// decoded ahead of being asked for. [ParseHeader] and [Parse] refuse numbers that no batch can have, without looking
// at the checksum; [Batch.Verify] looks at it. [Batch.Records] walks the records strictly and [Batch.Check] does the
// same faster, for the produce path. A [Builder] makes batches, a [Compressor] and a [Decompressor] own whatever
// compression needs to keep between batches, and [Batch.Recompress] changes the codec and nothing else.
//
// [Offset] is the position of a record in its partition, and a [Chunk] is a run of whole batches that still lies in
// a file, pinned there until it has been sent.
//
// Layout, big-endian, offsets in bytes:
//
//	 0 base offset        int64    16 magic (2)           int8     27 base timestamp   int64
//	 8 length             int32    17 checksum            uint32   35 max timestamp    int64
//	12 leader epoch       int32    21 attributes          int16    43 producer id      int64
//	                               23 last offset delta   int32    51 producer epoch   int16
//	                                                               53 base sequence    int32
//	                                                               57 record count     int32
//	61 records, compressed as one block if the attributes name a codec
//
// Length counts the bytes after itself. The checksum is a CRC32C of everything from the attributes on; base offset
// and leader epoch lie before it, so that a broker sets them without touching it.
//
// Invariants: bytes from outside never cause a panic, only [ErrShort] or an [*Error]; no memory is taken on the word
// of a number in the input; a walk over uncompressed records allocates nothing for each record.
package record
