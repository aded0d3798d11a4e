package consul

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/cron"
	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// Bounds of what is kept of runs.
const (
	keepRuns     = 30       // of one service
	maxRunLines  = 20       // of the output of one
	maxRunLine   = 400      // bytes
	maxCronState = 64 << 10 // bytes
)

// runName is the id of a run: when it was claimed, and some random digits.
var runName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{6}$`)

type (
	cronDoc struct {
		Schema int `json:"schema"`
		cron.State
	}
	runDoc struct {
		Schema int `json:"schema"`
		cron.Run
	}
)

// CronState returns what is known of the ticks of app/service, and whether somebody
// holds its lock, both of one moment. Without a key it is the zero state with its name.
func (c *Client) CronState(ctx context.Context, name string) (s cron.State, held bool, err error) {
	key, lock, err := c.cronKeys(name)
	if err != nil {
		return s, false, err
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	ops := api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVGetTree, Key: key}}, {KV: &api.KVTxnOp{Verb: api.KVGetTree, Key: lock}}}
	ok, res, _, err := c.api.Txn().Txn(ops, q)
	switch {
	case err != nil:
		return s, false, c.fault(ctx, "read "+key, err)
	case !ok || res == nil:
		return s, false, fault.New(fault.Failed, "read %s: consul at %s refused the transaction", key, c.address)
	}
	s.Name = name
	for _, r := range res.Results {
		switch {
		case r == nil || r.KV == nil:
		case r.KV.Key == lock:
			held = r.KV.Session != ""
		case r.KV.Key == key:
			if s, err = decodeCron(name, r.KV.Value); err != nil {
				return s, false, unreadable(key, err)
			}
			s.Index = r.KV.ModifyIndex
		}
	}
	return s, held, nil
}

func (c *Client) cronKeys(name string) (key, lock string, err error) {
	if key, err = c.keys.cron(name); err != nil {
		return "", "", err
	}
	lock, err = c.keys.lock(cronLock(name))
	return key, lock, err
}

// cronLock is the lock of the whole fleet: a run happens once.
func cronLock(name string) string { return "locks/" + name }

// ClaimCron takes the lock of app/service for h and writes its state, both or none,
// if nobody changed the state since it was read. A fault.Conflict says that somebody
// else was faster. The state comes back with its new index.
func (c *Client) ClaimCron(ctx context.Context, s cron.State, h fleet.Holder) (*Lock, cron.State, error) {
	key, lock, err := c.cronKeys(s.Name)
	if err != nil {
		return nil, s, err
	}
	op, err := cronOp(key, s)
	if err != nil {
		return nil, s, err
	}
	value, err := encode(shownHolder(h))
	if err != nil {
		return nil, s, fault.New(fault.Invalid, "lock %s: %w", lock, err)
	}
	w := waiter{path: lock, value: value, deadline: time.Now(), also: []*api.KVTxnOp{op}}
	for range attempts { // a lock of a process that died here is dropped, and tried again
		l, err := c.take(ctx, w)
		if l == nil && err == nil {
			continue
		}
		if err != nil {
			return nil, s, err
		}
		after, _, err := c.CronState(ctx, s.Name)
		if err != nil {
			return nil, s, errors.Join(err, l.Release(ctx))
		}
		return l, after, nil
	}
	return nil, s, fault.New(fault.Conflict, "lock %s: somebody else was faster", lock)
}

// LockCron takes the lock of app/service again, for a run that goes on.
func (c *Client) LockCron(ctx context.Context, name string, h fleet.Holder) (*Lock, error) {
	return c.Lock(ctx, cronLock(name), h, 0)
}

// SetCron writes a state if nobody changed it since it was read, and, with a lock, if
// that still is ours; else it is a fault.Conflict and fleet.ErrConflict.
func (c *Client) SetCron(ctx context.Context, s cron.State, l *Lock) (cron.State, error) {
	key, err := c.keys.cron(s.Name)
	if err != nil {
		return s, err
	}
	op, err := cronOp(key, s)
	if err != nil {
		return s, err
	}
	all := api.TxnOps{{KV: op}}
	if l != nil {
		all = append(all, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: l.key, Session: l.session}})
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	ok, res, _, err := c.api.Txn().Txn(all, q)
	switch {
	case err != nil:
		return s, c.fault(ctx, "write "+key, err)
	case !ok && res != nil && slices.ContainsFunc(res.Errors, func(e *api.TxnError) bool { return e != nil && strings.Contains(e.What, "ermission denied") }):
		return s, forbidden("write "+key, "permission denied")
	case !ok:
		return s, fault.New(fault.Conflict, "write %s: %w", key, fleet.ErrConflict)
	}
	for _, r := range res.Results {
		if r != nil && r.KV != nil && r.KV.Key == key {
			s.Index = r.KV.ModifyIndex
		}
	}
	return s, nil
}

func cronOp(key string, s cron.State) (*api.KVTxnOp, error) {
	s = boundCron(s)
	if err := checkCron(s); err != nil {
		return nil, fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	value, err := encode(cronDoc{schema, s})
	if err == nil && len(value) > maxCronState {
		err = errors.New("too long")
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	return &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: value, Index: s.Index}, nil
}

// RecordRun keeps a run that ended, with its output, and drops the oldest beyond the
// newest 30. A run is recorded again when more becomes known of it.
func (c *Client) RecordRun(ctx context.Context, name string, r cron.Run) error {
	folder, err := c.keys.runs(name)
	if err != nil {
		return err
	}
	r = boundRun(r)
	if err := checkRun(r); err != nil {
		return fault.New(fault.Invalid, "write %s%s: %w", folder, clean(r.ID, 60), err)
	}
	value, err := encode(runDoc{schema, r})
	if err != nil {
		return fault.New(fault.Invalid, "write %s%s: %w", folder, r.ID, err)
	}
	q, cancel := c.writing(ctx)
	defer cancel()
	if _, err := c.api.KV().Put(&api.KVPair{Key: folder + r.ID, Value: value}, q); err != nil {
		return c.fault(ctx, "write "+folder+r.ID, err)
	}
	if err := c.pruneRuns(ctx, folder); err != nil {
		c.log.Warn("old runs not dropped", "service", name, "error", err)
	}
	return nil
}

func (c *Client) pruneRuns(ctx context.Context, folder string) error {
	found, err := c.names(ctx, folder, "")
	if err != nil {
		return err
	}
	ours := slices.DeleteFunc(found, func(n string) bool { return !runName.MatchString(n) })
	slices.Sort(ours)
	var ops []*api.KVTxnOp
	for _, n := range ours[:min(max(len(ours)-keepRuns, 0), pruneAtOnce)] {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVDelete, Key: folder + n})
	}
	if len(ops) == 0 {
		return nil
	}
	_, err = c.txn(ctx, "prune "+folder, ops...)
	return err
}

// Runs returns the runs of app/service that ended, the newest first. What cannot be
// read is logged by key and left out.
func (c *Client) Runs(ctx context.Context, name string) ([]cron.Run, error) {
	folder, err := c.keys.runs(name)
	if err != nil {
		return nil, err
	}
	pairs, err := c.listAll(ctx, folder)
	if err != nil {
		return nil, err
	}
	var out []cron.Run
	for _, p := range pairs {
		var d runDoc
		id := strings.TrimPrefix(p.Key, folder)
		err := decode(p.Value, &d)
		if err == nil {
			d.ID = id
			d.Run = boundRun(d.Run)
			err = checkRun(d.Run)
		}
		if err != nil {
			c.log.Warn("skip unreadable run", "key", shown(p.Key), "reason", err)
			continue
		}
		out = append(out, d.Run)
	}
	slices.SortFunc(out, func(a, b cron.Run) int { return strings.Compare(b.ID, a.ID) })
	return out, nil
}

func decodeCron(name string, value []byte) (cron.State, error) {
	if len(value) > maxCronState {
		return cron.State{}, errors.New("too long")
	}
	var d cronDoc
	if err := decode(value, &d); err != nil {
		return cron.State{}, err
	}
	d.Name = name
	s := boundCron(d.State)
	return s, checkCron(s)
}

// boundCron makes every text one bounded line, in both directions.
func boundCron(s cron.State) cron.State {
	s.Schedule = clean(s.Schedule, 300)
	for _, r := range []**cron.Run{&s.Run, &s.Last} {
		if *r != nil {
			b := boundRun(**r)
			b.Lines = nil
			*r = &b
		}
	}
	return s
}

func boundRun(r cron.Run) cron.Run {
	r.By, r.Node, r.Release = clean(r.By, 200), clean(r.Node, 255), clean(r.Release, 128)
	r.End, r.Error = clean(r.End, 300), clean(r.Error, 1000)
	lines := r.Lines[max(len(r.Lines)-maxRunLines, 0):]
	r.Lines = nil
	for _, l := range lines {
		r.Lines = append(r.Lines, clean(l, maxRunLine))
	}
	return r
}

// checkCron holds for both directions: what is refused when read is never written.
func checkCron(s cron.State) error {
	if len(s.Ticks) > 1000 || !slices.IsSorted(s.Ticks) {
		return errors.New("ticks are too many or not sorted")
	}
	for _, t := range append([]int64{0}, s.Ticks...) {
		if t < 0 || t > 1<<36 {
			return fmt.Errorf("tick %d is not a time", t)
		}
	}
	if !maybe(s.Since) || !maybe(s.Base) {
		return errors.New("since or base is not a time of this century")
	}
	if s.Run != nil {
		if s.Run.Stage != cron.Claimed && s.Run.Stage != cron.Running {
			return errors.New("run: its stage is neither claimed nor running")
		}
		if err := checkRun(*s.Run); err != nil {
			return fmt.Errorf("run: %w", err)
		}
	}
	if s.Last != nil {
		if err := checkRun(*s.Last); err != nil {
			return fmt.Errorf("last: %w", err)
		}
	}
	return nil
}

func checkRun(r cron.Run) error {
	results := []cron.Result{"", cron.Done, cron.Failed, cron.Timeout, cron.Killed, cron.Lost, cron.Broken, cron.Missed}
	switch {
	case !runName.MatchString(r.ID):
		return errors.New("not the id of a run")
	case !slices.Contains(results, r.Result):
		return fmt.Errorf("result %q is none", clean(string(r.Result), 40))
	case !maybe(r.Tick) || !sane(r.Claimed) || !maybe(r.Began) || !maybe(r.Ended):
		return errors.New("a time is not of this century")
	case r.Tries < 0 || r.Missed < 0 || r.Passed < 0:
		return errors.New("a number is negative")
	}
	return nil
}

// maybe reports whether a time is not given, or sane.
func maybe(t time.Time) bool { return t.IsZero() || sane(t) }

// Currents returns which release each service of every app should run, and for every
// app where that cannot be read why. It asks for 60 apps at a time.
func (c *Client) Currents(ctx context.Context) (map[string]fleet.Current, map[string]string, error) {
	apps, err := c.Apps(ctx)
	if err != nil {
		return nil, nil, err
	}
	out, bad := map[string]fleet.Current{}, map[string]string{}
	for some := range slices.Chunk(apps, writeOps) {
		if err := c.currentsOf(ctx, some, out, bad); err != nil {
			return nil, nil, err
		}
	}
	return out, bad, nil
}

func (c *Client) currentsOf(ctx context.Context, apps []string, out map[string]fleet.Current, bad map[string]string) error {
	keys := map[string]string{}
	var ops api.TxnOps
	for _, app := range apps {
		key, err := c.keys.current(app)
		if err != nil {
			return err
		}
		keys[key] = app
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGetTree, Key: key}})
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	ok, res, _, err := c.api.Txn().Txn(ops, q)
	if err != nil || !ok || res == nil {
		return c.fault(ctx, "read what is current", errors.Join(err, notOK(ok)))
	}
	for _, r := range res.Results {
		if r == nil || r.KV == nil || keys[r.KV.Key] == "" {
			continue
		}
		services, err := decodeCurrent(r.KV.Value)
		if err != nil {
			bad[keys[r.KV.Key]] = unreadable(r.KV.Key, err).Error()
			continue
		}
		out[keys[r.KV.Key]] = fleet.Current{Services: services, Index: r.KV.ModifyIndex}
	}
	return nil
}

func notOK(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("the transaction was refused")
}
