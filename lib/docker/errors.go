package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// maxMessage bounds what is quoted of the engine's words.
const maxMessage = 600

// mapError gives an engine error its kind: fleet.ErrNotFound with fault.NotFound,
// fault.Unreachable, fault.Timeout; the end of the caller's context stays visible to errors.Is.
func mapError(err error, what, host string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Timeout, "%s: %w", what, err)
	case client.IsErrConnectionFailed(err):
		return fault.New(fault.Unreachable, "%s: no connection to docker at %s", what, host)
	case cerrdefs.IsNotFound(err):
		return fault.New(fault.NotFound, "%s: %w: %s", what, fleet.ErrNotFound, words(err))
	}
	return fmt.Errorf("%s: %s", what, words(err))
}

// words is the engine's message in one bounded line, without its preamble.
func words(err error) string {
	text := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	return oneLine(text)
}

// oneLine joins the lines of a text from outside and bounds it.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(clean(text)), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// clean replaces what a terminal would obey: control characters and invalid UTF-8.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// portTaken reports whether the engine says that a host port is in use, by another
// container ("port is already allocated") or by another program, or that an address
// of a macvlan is ("Address already in use", libnetwork/ipamapi).
func portTaken(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "port is already allocated") || strings.Contains(text, "address already in use")
}
