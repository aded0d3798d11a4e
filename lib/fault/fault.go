// Package fault names the few kinds of failure that svckit's programs end with.
// Every package returns ordinary wrapped errors; an error that must end the
// program with a certain exit code carries a Kind.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what sort of failure an error is. Its value is the exit code.
type Kind int

// The kinds, in the order of the exit-code table (design: one table for all programs).
const (
	OK          Kind = 0
	Failed      Kind = 1
	Partial     Kind = 3
	Usage       Kind = 10
	Invalid     Kind = 11
	NotFound    Kind = 12
	Unreachable Kind = 13
	Conflict    Kind = 14
	Timeout     Kind = 15
	Unhealthy   Kind = 16
	Refused     Kind = 17
	Interrupted Kind = 130
	Terminated  Kind = 143
)

// Code is one row of the exit-code table.
type Code struct {
	Kind    Kind
	Word    string // one word for JSON, e.g. "refused"
	Meaning string // one line for people
}

// Codes returns the exit-code table that every help text, man page and the README print.
func Codes() []Code {
	return []Code{
		{OK, "ok", "done, or nothing to do"},
		{Failed, "failed", "failed"},
		{Partial, "partial", "partly applied"},
		{Usage, "usage", "wrong usage: unknown flag, argument or command"},
		{Invalid, "invalid", "spec or config invalid"},
		{NotFound, "not-found", "not found"},
		{Unreachable, "unreachable", "Consul, Docker or registry unreachable"},
		{Conflict, "conflict", "lock held, or changed by someone else"},
		{Timeout, "timeout", "timed out"},
		{Unhealthy, "unhealthy", "new version unhealthy, old one still serving"},
		{Refused, "refused", "refused as unsafe, nothing touched"},
		{Interrupted, "interrupted", "interrupted (Ctrl-C)"},
		{Terminated, "terminated", "terminated (a daemon stopped by TERM exits 0)"},
	}
}

// String returns the kind's one word, as in the JSON of an error.
func (k Kind) String() string {
	for _, c := range Codes() {
		if c.Kind == k {
			return c.Word
		}
	}
	return fmt.Sprintf("kind-%d", int(k))
}

// Error is a failure with a kind and, where it helps, a hint and details.
type Error struct {
	Kind   Kind
	Msg    string   // verb object, lower case: "register web-3"
	Hint   string   // the next command or setting to try; may be empty
	Detail []string // lines shown below the message: problems of a spec, last log lines
	Err    error    // the cause; may be nil
}

// Error renders "msg: cause"; hint and details are left to the program's edge.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Msg
	case e.Msg == "":
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of kind k from a format, as fmt.Errorf does (%w included).
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// WithHint returns err with a hint, keeping its kind. A nil err stays nil.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Err: err, Hint: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first Error in err's chain, Failed for any other error, OK for nil.
func KindOf(err error) Kind {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Failed
}

// HintOf returns the outermost hint of err's tree, "" when there is none.
func HintOf(err error) (hint string) {
	walk(err, func(e *Error) bool { hint = e.Hint; return hint != "" })
	return hint
}

// DetailOf returns the outermost details of err's tree.
func DetailOf(err error) (detail []string) {
	walk(err, func(e *Error) bool { detail = e.Detail; return len(detail) > 0 })
	return detail
}

// walk visits each Error in err's tree, outermost first, until visit returns true.
func walk(err error, visit func(*Error) bool) bool {
	for err != nil {
		if e, ok := err.(*Error); ok && visit(e) { //nolint:errorlint // each error of the tree is looked at by itself
			return true
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				if walk(one, visit) {
					return true
				}
			}
			return false
		}
		err = errors.Unwrap(err)
	}
	return false
}
