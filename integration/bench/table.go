//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// table collects figures in the order in which they were measured.
type table struct {
	rows []row
}

type row struct {
	what     string
	measured string
	kafka    string // what Apache Kafka came to, if it was asked
	unit     string
	limit    string
	met      bool
}

// tell adds a figure that has no limit.
func (t *table) tell(what string, value float64, unit string) {
	t.rows = append(t.rows, row{what: what, measured: number(value), unit: unit, met: true})
}

// beside adds figures that have no limit, with Kafka's; none of Kafka's is nil.
func (t *table) beside(what string, values, kafka []float64, unit string) {
	t.rows = append(t.rows, row{what: what, measured: numbers(values), kafka: numbers(kafka), unit: unit, met: true})
}

// atLeast adds a figure that is to be no lower than limit.
func (t *table) atLeast(what string, value, limit float64, unit string) {
	t.rows = append(t.rows, row{what, number(value), "", unit, "at least " + number(limit), value >= limit})
}

// atMost adds a figure that is to be no higher than limit.
func (t *table) atMost(what string, value, limit float64, unit string) {
	t.rows = append(t.rows, row{what, number(value), "", unit, "at most " + number(limit), value <= limit})
}

// atLeastTimes adds a figure that is to be no lower than so many times Kafka's.
func (t *table) atLeastTimes(what string, value, kafka, times float64, unit string) {
	t.rows = append(t.rows, row{what, number(value), number(kafka), unit, "at least " + number(times) + " of Kafka's", value >= times*kafka})
}

// atMostTimes adds a figure that is to be no higher than so many times Kafka's.
func (t *table) atMostTimes(what string, value, kafka, times float64, unit string) {
	t.rows = append(t.rows, row{what, number(value), number(kafka), unit, "at most " + number(times) + " of Kafka's", value <= times*kafka})
}

func (t *table) print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := ""
	if slices.ContainsFunc(t.rows, func(r row) bool { return r.kafka != "" }) {
		head = "Kafka"
	}
	fmt.Fprintf(out, "what\tmeasured\t%s\t\tlimit\t\n", head)
	for _, r := range t.rows {
		missed := ""
		if !r.met {
			missed = "MISSED"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.measured, r.kafka, r.unit, r.limit, missed)
	}
	_ = out.Flush()
}

// numbers writes figures that stand in one row.
func numbers(vs []float64) string {
	var texts []string
	for _, v := range vs {
		texts = append(texts, number(v))
	}
	return strings.Join(texts, " / ")
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
