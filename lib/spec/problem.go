package spec

import (
	"fmt"
	"strings"

	"svckit/lib/fault"
)

// String renders "file:line: path: message".
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Msg
}

// Invalid makes one fault of kind Invalid that lists every problem, or nil when there is none.
func Invalid(what string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	noun := "problems"
	if len(problems) == 1 {
		noun = "problem"
	}
	e := fault.New(fault.Invalid, "%s: %d %s", what, len(problems), noun)
	e.Detail = lines
	return e
}
