package inspect

import (
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar is a progress bar, or none. Errors of drawing it are passed over: it is for whoever looks.
type bar struct{ b *progressbar.ProgressBar }

// newBar draws on out, which is a terminal; nil for no bar.
func newBar(out io.Writer, total int64, what string) *bar {
	if out == nil || total == 0 {
		return &bar{}
	}
	return &bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

func (b *bar) add(bytes int64) {
	if b.b != nil {
		_ = b.b.Add64(bytes)
	}
}

// clear takes the bar away for a line of output. The next step draws it again.
func (b *bar) clear() {
	if b.b != nil {
		_ = b.b.Clear()
	}
}

func (b *bar) finish() {
	if b.b != nil {
		_ = b.b.Finish()
	}
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
