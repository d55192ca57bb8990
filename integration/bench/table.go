//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// table collects figures in the order in which they were measured.
type table struct {
	rows []row
}

type row struct {
	what  string
	value float64
	unit  string
	limit string
	met   bool
}

// tell adds a figure that has no limit.
func (t *table) tell(what string, value float64, unit string) {
	t.rows = append(t.rows, row{what: what, value: value, unit: unit, met: true})
}

// atLeast adds a figure that is to be no lower than limit.
func (t *table) atLeast(what string, value, limit float64, unit string) {
	t.rows = append(t.rows, row{what, value, unit, "at least " + number(limit), value >= limit})
}

// atMost adds a figure that is to be no higher than limit.
func (t *table) atMost(what string, value, limit float64, unit string) {
	t.rows = append(t.rows, row{what, value, unit, "at most " + number(limit), value <= limit})
}

func (t *table) print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "what\tmeasured\t\tlimit\t")
	for _, r := range t.rows {
		missed := ""
		if !r.met {
			missed = "MISSED"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", r.what, number(r.value), r.unit, r.limit, missed)
	}
	_ = out.Flush()
}

// number writes three digits that count.
func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
