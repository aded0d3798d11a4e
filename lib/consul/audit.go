package consul

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

const (
	keepRecords = 200     // of one app
	maxRecord   = 8 << 10 // bytes of one record
	auditTime   = "20060102T150405.000000Z"
	pruneAtOnce = 64 // operations of one transaction; Consul takes 128
)

var auditKey = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{6}Z-[0-9a-f]{8}$`)

// Record adds a to the journal of its app, shortened to what a journal keeps,
// and drops the oldest records beyond the newest 200.
func (c *Client) Record(ctx context.Context, a fleet.Audit) error {
	prefix, err := c.keys.audit(a.App)
	if err != nil {
		return err
	}
	if !sane(a.At) {
		return fault.New(fault.Invalid, "write %s: a record needs a time", prefix)
	}
	value, err := encodeAudit(a)
	if err != nil {
		return fault.New(fault.Invalid, "write %s: %w", prefix, err)
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails since Go 1.24
	if err := c.swap(ctx, prefix+auditName(a.At, random), value, 0); err != nil {
		return err
	}
	if err := c.prune(ctx, prefix); err != nil {
		c.log.Warn("journal not pruned", "app", a.App, "error", err)
	}
	return nil
}

// Records returns the journal of an app since a time, oldest first; app "" means every app.
// Records that cannot be read are logged by key and left out.
func (c *Client) Records(ctx context.Context, app string, since time.Time) ([]fleet.Audit, error) {
	prefix, err := c.keys.audits(), error(nil)
	if app != "" {
		prefix, err = c.keys.audit(app)
	}
	if err != nil {
		return nil, err
	}
	pairs, hidden, err := c.list(ctx, prefix)
	if err != nil {
		return nil, err
	}
	if hidden && (app != "" || len(pairs) == 0) {
		return nil, notAllowed("read", prefix)
	}
	var records []fleet.Audit
	for _, p := range pairs {
		a, err := decodeAudit(c.keys.audits(), p.Key, p.Value)
		if err != nil {
			c.log.Warn("skip unreadable audit record", "key", shown(p.Key), "reason", err)
			continue
		}
		if !a.At.Before(since) {
			records = append(records, a)
		}
	}
	sort.SliceStable(records, func(i, j int) bool { return records[i].At.Before(records[j].At) })
	return records, nil
}

// prune asks for names only, and deletes only what is named as our records are.
func (c *Client) prune(ctx context.Context, prefix string) error {
	found, err := c.names(ctx, prefix, "")
	if err != nil {
		return err
	}
	old := overdue(found)
	if len(old) == 0 {
		return nil
	}
	var ops []*api.KVTxnOp
	for _, name := range old {
		ops = append(ops, &api.KVTxnOp{Verb: api.KVDelete, Key: prefix + name})
	}
	_, err = c.txn(ctx, "prune "+prefix, ops...)
	return err
}

// overdue returns the oldest names beyond those that are kept, at most as many as one transaction takes.
func overdue(names []string) []string {
	var ours []string
	for _, n := range names {
		if auditKey.MatchString(n) {
			ours = append(ours, n)
		}
	}
	sort.Strings(ours)
	return ours[:min(max(len(ours)-keepRecords, 0), pruneAtOnce)]
}

func auditName(at time.Time, random [4]byte) string {
	return at.UTC().Format(auditTime) + "-" + hex.EncodeToString(random[:])
}

// encodeAudit shortens what may be long until the record fits.
func encodeAudit(a fleet.Audit) ([]byte, error) {
	a.Schema, a.At = schema, a.At.UTC()
	a = trimAudit(a)
	a.Error = cut(a.Error, 2000)
	plan := a.Plan
	for keep := len(plan); ; keep /= 2 {
		a.Plan = plan[:keep:keep]
		if keep < len(plan) {
			a.Plan = append(a.Plan, "…")
		}
		value, err := encode(a)
		if err != nil || len(value) <= maxRecord || keep == 0 {
			return value, err
		}
	}
}

// decodeAudit reads a record; its app is the one of its key, not what the value says.
func decodeAudit(root, key string, value []byte) (fleet.Audit, error) {
	app, name, _ := strings.Cut(strings.TrimPrefix(key, root), "/")
	if !appName.MatchString(app) || !auditKey.MatchString(name) {
		return fleet.Audit{}, errors.New("not a key of the journal")
	}
	if len(value) > 4*maxRecord {
		return fleet.Audit{}, errors.New("too long")
	}
	var a fleet.Audit
	if err := decode(value, &a); err != nil {
		return fleet.Audit{}, err
	}
	if !sane(a.At) {
		return fleet.Audit{}, errors.New("no time")
	}
	a.App, a.At = app, a.At.UTC()
	return trimAudit(a), nil
}

// trimAudit makes every text one bounded line; both directions, as nobody else need have written the record.
func trimAudit(a fleet.Audit) fleet.Audit {
	for _, f := range []*string{&a.Who, &a.Node, &a.Program, &a.App, &a.Service, &a.Result} {
		*f = clean(*f, 200)
	}
	a.Command, a.Error = clean(a.Command, 1000), clean(a.Error, 3000)
	plan := make([]string, 0, min(len(a.Plan), 100))
	for i, step := range a.Plan {
		if i == 100 {
			plan = append(plan, "…")
			break
		}
		plan = append(plan, clean(step, 300))
	}
	a.Plan = plan
	if len(plan) == 0 {
		a.Plan = nil
	}
	return a
}
