package catalog

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// MaxNameLength is the most bytes that the name of a topic may have, so that name, partition and suffix together fit
// a file name everywhere.
const MaxNameLength = 249

// The topics that the broker's coordinators keep their state in.
const (
	GroupOffsetsTopic     = "__consumer_offsets"
	TransactionStateTopic = "__transaction_state"
	ShareGroupStateTopic  = "__share_group_state"
)

// IsInternal reports whether a topic belongs to the broker's coordinators: clients may read it and not produce to it.
func IsInternal(name string) bool {
	return name == GroupOffsetsTopic || name == TransactionStateTopic || name == ShareGroupStateTopic
}

// ValidateName tells whether a topic may have this name, by the rules of Kafka's Topic.validate. The error is
// kerr.InvalidTopicException with the reason.
func ValidateName(name string) error {
	reason := ""
	switch {
	case name == "":
		reason = "it is empty"
	case name == "." || name == "..":
		reason = "'.' and '..' are not names"
	case len(name) > MaxNameLength:
		return fmt.Errorf("topic name of %d bytes is longer than %d: %w", len(name), MaxNameLength, kerr.InvalidTopicException)
	case strings.ContainsFunc(name, func(r rune) bool { return !isLegal(r) }):
		reason = "it may have ASCII letters and digits, '.', '_' and '-' only"
	default:
		return nil
	}
	return fmt.Errorf("topic name %q is invalid, %s: %w", name, reason, kerr.InvalidTopicException)
}

func isLegal(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// HasCollision reports whether two names are the same once '.' and '_' are taken for the same, as they are in the
// names of metrics (Kafka's Topic.hasCollision).
func HasCollision(a, b string) bool { return unified(a) == unified(b) }

func unified(name string) string { return strings.ReplaceAll(name, ".", "_") }

func hasCollisionChars(name string) bool { return strings.ContainsAny(name, "._") }

// NewTopicID returns a random id for a topic: a UUID of version 4, none of those that Kafka reserves, and none whose
// text begins with '-', which would be taken for a flag on a command line (Kafka's Uuid.randomUuid).
func NewTopicID() [16]byte {
	for {
		var id [16]byte
		rand.Read(id[:]) // never fails
		id[6] = id[6]&0x0f | 0x40
		id[8] = id[8]&0x3f | 0x80
		if !isReserved(id) && !strings.HasPrefix(FormatID(id), "-") {
			return id
		}
	}
}

// NewClusterID returns a random id for a cluster, in the form that Kafka's tools make.
func NewClusterID() string { return FormatID(NewTopicID()) }

// FormatID writes an id as Kafka writes its UUIDs: 22 characters of URL-safe base64.
func FormatID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// ParseID reads what FormatID writes.
func ParseID(text string) ([16]byte, error) {
	var id [16]byte
	if len(text) != base64.RawURLEncoding.EncodedLen(len(id)) {
		return id, fmt.Errorf("id %.40q has not the 22 characters of a UUID in base64", text)
	}
	if _, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(text)); err != nil {
		return id, fmt.Errorf("id %q is not URL-safe base64: %w", text, err)
	}
	return id, nil
}

// isReserved reports whether an id is one that Kafka gives a meaning: none, and the metadata topic's.
func isReserved(id [16]byte) bool {
	low := id[15]
	id[15] = 0
	return id == [16]byte{} && low <= 1
}
