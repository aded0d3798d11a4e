package fault_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"svckit/lib/fault"
)

func TestTheKindOfAnErrorIsThatOfTheOutermostFault(t *testing.T) {
	inner := fault.New(fault.NotFound, "read release r1: %w", io.EOF)
	for _, row := range []struct {
		name string
		err  error
		want fault.Kind
	}{
		{"no error", nil, fault.OK},
		{"any other error", io.EOF, fault.Failed},
		{"a fault", inner, fault.NotFound},
		{"a wrapped fault", fmt.Errorf("up: %w", inner), fault.NotFound},
		{"a fault around a fault", &fault.Error{Kind: fault.Refused, Err: inner}, fault.Refused},
		{"with a hint", fault.WithHint(inner, "look at %s", "it"), fault.NotFound},
		{"joined", errors.Join(io.EOF, inner), fault.NotFound},
	} {
		if got := fault.KindOf(row.err); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
	if !errors.Is(inner, io.EOF) {
		t.Error("the cause is lost")
	}
}

func TestAMessageNamesVerbObjectAndCauseOnce(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{fault.New(fault.Failed, "register %s: %w", "web-3", io.EOF), "register web-3: EOF"},
		{&fault.Error{Msg: "mark stable", Err: io.EOF}, "mark stable: EOF"},
		{&fault.Error{Msg: "mark stable"}, "mark stable"},
		{fault.WithHint(io.EOF, "try again"), "EOF"},
	} {
		if got := row.err.Error(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
	if fault.WithHint(nil, "no error") != nil {
		t.Error("a hint made an error of nothing")
	}
}

// TestTheREADMEShowsTheTable holds the README to the one table of exit codes.
func TestTheREADMEShowsTheTable(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Exit codes")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`).FindAllStringSubmatch(section, -1) {
		shown[m[1]] = m[2]
	}
	for _, c := range fault.Codes() {
		if got := shown[strconv.Itoa(int(c.Kind))]; got != c.Meaning {
			t.Errorf("the README says of exit %d: %q, want %q", c.Kind, got, c.Meaning)
		}
	}
	if len(shown) != len(fault.Codes()) {
		t.Errorf("the README shows %d codes, want %d", len(shown), len(fault.Codes()))
	}
}

func TestHintAndDetailAreFoundAnywhereInAnError(t *testing.T) {
	inner := &fault.Error{Kind: fault.Invalid, Msg: "read", Hint: "inner", Detail: []string{"one"}}
	err := errors.Join(errors.New("other"), fault.WithHint(fmt.Errorf("up: %w", inner), "outer"))
	if got := fault.HintOf(err); got != "outer" {
		t.Errorf("hint %q, want the outermost", got)
	}
	if got := fault.DetailOf(err); len(got) != 1 || got[0] != "one" {
		t.Errorf("detail %q", got)
	}
	if fault.HintOf(nil) != "" || fault.DetailOf(errors.New("plain")) != nil {
		t.Error("found something where there is nothing")
	}
}
