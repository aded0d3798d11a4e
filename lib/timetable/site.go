package timetable

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/cron"
	"svckit/lib/fleet"
	"svckit/lib/spec"
)

// Lock is the lock of one service, for the whole fleet.
type Lock interface {
	// Lost is closed when the lock is not ours any more.
	Lost() <-chan struct{}
	Release(ctx context.Context) error
}

// States are what the fleet knows of services.
type States interface {
	// CronState is the state of a service, and whether somebody holds its lock.
	CronState(ctx context.Context, name string) (s cron.State, held bool, err error)
	// SetCron changes it, if nobody did since it was read, and if the lock, where one
	// is given, still is ours; else fleet.ErrConflict.
	SetCron(ctx context.Context, s cron.State, l Lock) (cron.State, error)
	// RecordRun keeps a run that ended for people.
	RecordRun(ctx context.Context, name string, r cron.Run) error
}

// Locks are the locks of services. A fault.Conflict says that somebody else has one.
type Locks interface {
	// ClaimCron takes the lock and changes the state, both or none.
	ClaimCron(ctx context.Context, s cron.State) (Lock, cron.State, error)
	// LockCron takes the lock for a run that goes on.
	LockCron(ctx context.Context, name string) (Lock, error)
}

// Containers are the containers of runs on this node.
type Containers interface {
	// Make makes the container of a run and does not start it.
	Make(ctx context.Context, s Service, run string) (Made, error)
	Start(ctx context.Context, id string) error
	// Stop ends it, with its stop signal and timeout or, at once, by KILL.
	Stop(ctx context.Context, id string, atOnce bool) error
	Remove(ctx context.Context, id string) error
}

// Views look at the containers of runs on this node.
type Views interface {
	// Ended waits for the end of a container; fleet.ErrNotFound when it is gone.
	Ended(ctx context.Context, id string) (End, error)
	// Lines are the last lines of its output.
	Lines(ctx context.Context, id string) ([]string, error)
	// Left lists them, in whatever state.
	Left(ctx context.Context) ([]Leftover, error)
}

// Service is a cron service, as its current release has it.
type Service struct {
	Name     string // app/service
	Release  string
	Promoted time.Time     // when the release became the current one
	Fields   string        // "ZONE FIELDS"
	Schedule cron.Schedule //
	Rules    spec.CronRules
	Pool     string
	Notify   []spec.Notify
}

// Made is a container that was made.
type Made struct {
	ID      string
	Release string // that it is of: the current one at that moment
}

// End is how a container ended.
type End struct {
	Code int
	Why  string // beyond the code, e.g. out of memory; "": nothing
}

// Leftover is the container of a run.
type Leftover struct {
	Name, Run, ID string
	Release       string
	State         fleet.State
	Began         time.Time
}

// Site is what runs need, whoever starts them.
type Site struct {
	Node       string
	States     States
	Locks      Locks
	Containers Containers
	Views      Views
	Now        func() time.Time // of the node's clock
	// Tell hears of every run that ended, badly or well.
	Tell func(s Service, r cron.Run)
	Log  hclog.Logger
}
