package partition

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"segue/storage"
)

// storageErrors are all errors that package storage exports, by name, and what becomes of them.
var storageErrors = map[string]struct {
	err  error
	want *kerr.Error
}{
	"ErrOffsetOutOfRange": {storage.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	"ErrClosed":           {storage.ErrClosed, kerr.NotLeaderForPartition},
	"ErrFailed":           {storage.ErrFailed, kerr.KafkaStorageError},
	"ErrNotWritten":       {storage.ErrNotWritten, kerr.KafkaStorageError},
	"ErrStaleEpoch":       {storage.ErrStaleEpoch, kerr.NotLeaderForPartition},
	"ErrNotFound":         {storage.ErrNotFound, kerr.UnknownServerError},
	"ErrUnsupported":      {storage.ErrUnsupported, kerr.UnsupportedForMessageFormat},
	"CorruptError":        {&storage.CorruptError{File: "f", Err: io.ErrUnexpectedEOF}, kerr.CorruptMessage},
}

func TestTranslateStorage(t *testing.T) {
	for name, tt := range storageErrors {
		t.Run(name, func(t *testing.T) {
			// As storage wraps it: with what was being done, and sometimes with the cause.
			for _, err := range []error{
				tt.err,
				fmt.Errorf("append to topic-0: %w", tt.err),
				fmt.Errorf("append to topic-0: %w: %w", tt.err, os.ErrPermission),
			} {
				got := translate("do it", err)
				var code *kerr.Error
				if !errors.As(got, &code) || code != tt.want {
					t.Errorf("%v became %v, want %v", err, got, tt.want)
				}
				if !errors.Is(got, tt.err) || !strings.HasPrefix(got.Error(), "do it: ") {
					t.Errorf("%v lost its cause or what was being done: %v", err, got)
				}
			}
		})
	}
}

func TestTranslateOthers(t *testing.T) {
	if translate("do it", nil) != nil {
		t.Error("nil became an error")
	}
	for _, tt := range []struct {
		err  error
		want *kerr.Error
	}{
		{errClosed, kerr.NotLeaderForPartition},
		{context.Canceled, kerr.RequestTimedOut},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), kerr.RequestTimedOut},
		{&os.PathError{Op: "read", Path: "f", Err: os.ErrInvalid}, kerr.KafkaStorageError},
		{fmt.Errorf("translated before: %w", kerr.PolicyViolation), kerr.PolicyViolation},
		// The log that failed for damage has failed: there is no use in telling the producer about the damage.
		{fmt.Errorf("%w: %w", storage.ErrFailed, &storage.CorruptError{Err: io.EOF}), kerr.KafkaStorageError},
	} {
		var code *kerr.Error
		if got := translate("do it", tt.err); !errors.As(got, &code) || code != tt.want || !errors.Is(got, tt.err) {
			t.Errorf("%v became %v, want %v", tt.err, got, tt.want)
		}
	}
}

// The table above has every error that package storage exports: a new one needs a decision.
func TestTranslateIsComplete(t *testing.T) {
	files, err := filepath.Glob("../storage/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of package storage: %v", err)
	}
	var exported []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.ValueSpec:
				for _, v := range n.Names {
					if strings.HasPrefix(v.Name, "Err") {
						exported = append(exported, v.Name)
					}
				}
			case *ast.TypeSpec:
				if n.Name.IsExported() && strings.HasSuffix(n.Name.Name, "Error") {
					exported = append(exported, n.Name.Name)
				}
			}
			return true
		})
	}
	slices.Sort(exported)
	if known := slices.Sorted(maps.Keys(storageErrors)); !slices.Equal(exported, known) {
		t.Errorf("package storage exports %v, translated are %v", exported, known)
	}
}
