package tool

import (
	"io"
	"strings"
)

// Tint is the colour of a cell on a terminal.
type Tint string

// The tints.
const (
	Plain Tint = ""
	Good  Tint = "32"
	Warn  Tint = "33"
	Bad   Tint = "31"
	Faint Tint = "2"
)

// Cell is one text of a table.
type Cell struct {
	Text string
	Tint Tint
}

// Table collects rows and writes them as aligned columns. Text of any origin is made safe for a terminal.
type Table struct {
	colour bool
	rows   [][]Cell
}

// Table starts a table with these titles; with none it has no title row.
func (s *Session) Table(titles ...string) *Table {
	t := &Table{colour: s.colour}
	if len(titles) > 0 {
		t.Row(titles...)
	}
	return t
}

// Row adds a row of plain cells.
func (t *Table) Row(texts ...string) {
	row := make([]Cell, len(texts))
	for i, s := range texts {
		row[i] = Cell{Text: s}
	}
	t.Cells(row...)
}

// Cells adds a row.
func (t *Table) Cells(row ...Cell) {
	out := make([]Cell, len(row))
	for i, c := range row {
		out[i] = Cell{Text: clean(c.Text), Tint: c.Tint}
		if c.Text == "" {
			out[i].Text = "-"
		}
	}
	t.rows = append(t.rows, out)
}

// Write writes the rows to w.
func (t *Table) Write(w io.Writer) {
	var widths []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(c.Text)))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		for i, c := range row {
			text := c.Text
			if t.colour && c.Tint != Plain {
				text = "\x1b[" + string(c.Tint) + "m" + text + "\x1b[0m"
			}
			b.WriteString(text)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-len([]rune(c.Text))+2))
			}
		}
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(w, b.String())
}

// Paint returns text in a colour where the session's stdout shows colours.
func (s *Session) Paint(tint Tint, text string) string {
	if !s.colour || tint == Plain {
		return clean(text)
	}
	return "\x1b[" + string(tint) + "m" + clean(text) + "\x1b[0m"
}
