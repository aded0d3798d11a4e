// Package systemd tells the service manager how a daemon is: ready, alive, and
// what it is about. Without a manager (NOTIFY_SOCKET is not set) it is silent.
package systemd

import (
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"svckit/lib/fault"
)

// Unit is the process as its service manager sees it. It is safe for concurrent use.
type Unit struct {
	// Every is how often Alive is due, half of what the unit's WatchdogSec allows; 0: nobody waits for it.
	Every time.Duration
}

// Open reads from the environment what the service manager expects.
func Open() (*Unit, error) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read WATCHDOG_USEC: %w", err)
	}
	return &Unit{Every: limit / 2}, nil
}

// Ready says that the daemon has started and does its work.
func (u *Unit) Ready(status string) error { return tell(daemon.SdNotifyReady, "STATUS="+line(status)) }

// Status is shown by systemctl status.
func (u *Unit) Status(status string) error { return tell("STATUS=" + line(status)) }

// Stopping says that the daemon ends.
func (u *Unit) Stopping() error { return tell(daemon.SdNotifyStopping) }

// Alive says that the daemon's loop goes round.
func (u *Unit) Alive() error { return tell(daemon.SdNotifyWatchdog) }

func tell(fields ...string) error {
	if _, err := daemon.SdNotify(false, strings.Join(fields, "\n")); err != nil {
		return fault.New(fault.Failed, "tell systemd: %w", err)
	}
	return nil
}

// line keeps text within its field: a line break would begin another one.
func line(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}
