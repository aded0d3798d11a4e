package main

import (
	"fmt"
	"strings"

	"svckit/lib/source"
	"svckit/lib/tool"
)

// verb is what a step does.
type verb string

// The steps of a build, in the order in which they can appear.
const (
	doBuild   verb = "build"
	doTest    verb = "test"
	doPush    verb = "push"
	doConfirm verb = "confirm"
	doRecord  verb = "record"
)

// step is one step of a plan: what is done to what, and why.
type step struct {
	Do     verb   `json:"do"`
	What   string `json:"what"`
	Reason string `json:"reason"`
}

func (s step) String() string { return fmt.Sprintf("%s %s (%s)", s.Do, s.What, s.Reason) }

// plan lists the steps of a build. It is pure: everything is known from the source.
func plan(s subject) []step {
	steps := []step{{doBuild, "image " + s.ref() + from(s), nameReason(s)}}
	test := s.spec.Build.Test
	if len(test) > 0 && !s.skipTest {
		steps = append(steps, step{doTest, strings.Join(test, " "), fmt.Sprintf("build.test must pass in the image within %s", s.testLimit)})
	}
	if !s.push {
		return steps
	}
	steps = append(steps,
		step{doPush, s.ref(), "--push"},
		step{doConfirm, s.ref(), "the registry's own digest is what a release is pinned to"})
	if s.record {
		steps = append(steps, step{doRecord, "release " + s.release + " of " + s.spec.Name, "svc-run finds it in Consul"})
	}
	return steps
}

// remarks are the things a user must know although no step is done for them.
func remarks(s subject) []string {
	var out []string
	if len(s.spec.Build.Test) > 0 && s.skipTest {
		out = append(out, "the test is skipped (--skip-test), and the release will say so")
	}
	if len(s.spec.Build.Test) == 0 {
		out = append(out, "the spec has no build.test: nothing is tried before the image is used")
	}
	if s.push && !s.record {
		out = append(out, "no release is recorded (--no-record): svc-run will not find it")
	}
	return out
}

func from(s subject) string {
	files, bytes := s.tree.Size()
	text := fmt.Sprintf(" from %d files, %s", files, tool.Bytes(bytes))
	if s.generated {
		text += fmt.Sprintf(", with a generated Dockerfile for %s", s.spec.Build.Runtime)
	}
	if args := names(source.MergeArgs(s.spec.Build.Args, s.args)); len(args) > 0 {
		text += ", build arguments " + strings.Join(args, " ")
	}
	if secrets := names(s.secrets); len(secrets) > 0 {
		text += ", secrets " + strings.Join(secrets, " ")
	}
	return text
}

func nameReason(s subject) string {
	switch {
	case s.tag != "":
		return "named by --tag"
	case !s.origin.Known():
		return "named after the content: the folder is not in git"
	case s.origin.Dirty:
		return "named after commit and content: something is not committed"
	}
	return "named after commit " + source.ReleaseName(s.origin.Git, "")
}
