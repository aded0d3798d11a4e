package consul

import (
	"context"
	"encoding/json"
	"errors"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// attempts is how often a check-and-set that lost a race is done again.
const attempts = 5

// Release returns one release record. Without one the error is fleet.ErrNotFound.
func (c *Client) Release(ctx context.Context, app, name string) (fleet.Release, error) {
	r, _, err := c.release(ctx, app, name)
	return r, err
}

func (c *Client) release(ctx context.Context, app, name string) (fleet.Release, *api.KVPair, error) {
	key, err := c.keys.release(app, name)
	if err != nil {
		return fleet.Release{}, nil, err
	}
	pair, err := c.get(ctx, key)
	if err != nil {
		return fleet.Release{}, nil, err
	}
	if pair == nil {
		return fleet.Release{}, nil, fault.WithHint(fault.New(fault.NotFound, "read release %s of %s: %w", name, app, fleet.ErrNotFound), "svc-run releases %s", app)
	}
	r, err := decodeRelease(app, name, pair.Value)
	if err != nil {
		return fleet.Release{}, nil, unreadable(key, err)
	}
	return r, pair, nil
}

// Releases returns an app's releases, newest first, and for every key that is
// not a readable release "key: reason".
func (c *Client) Releases(ctx context.Context, app string) (list []fleet.Release, bad []string, err error) {
	prefix, err := c.keys.releases(app)
	if err != nil {
		return nil, nil, err
	}
	pairs, hidden, err := c.list(ctx, prefix)
	if err != nil {
		return nil, nil, err
	}
	if hidden {
		return nil, nil, notAllowed("read", prefix)
	}
	list, bad = sortReleases(app, prefix, pairs)
	return list, bad, nil
}

func sortReleases(app, prefix string, pairs []*api.KVPair) (list []fleet.Release, bad []string) {
	for _, p := range pairs {
		name := strings.TrimPrefix(p.Key, prefix)
		if !releaseName.MatchString(name) {
			bad = append(bad, shown(p.Key)+": not a name of a release")
			continue
		}
		r, err := decodeRelease(app, name, p.Value)
		if err != nil {
			bad = append(bad, p.Key+": "+err.Error())
			continue
		}
		list = append(list, r)
	}
	sort.Slice(list, func(i, j int) bool {
		if !list[i].BuiltAt.Equal(list[j].BuiltAt) {
			return list[i].BuiltAt.After(list[j].BuiltAt)
		}
		return list[i].Name < list[j].Name
	})
	sort.Strings(bad)
	return list, bad
}

// PutRelease writes a record. Where there is one of that name, its stable mark
// stays (it has a digest of its own), and its failed mark if the image is the same.
// A value that is no release is never overwritten (fault.Refused).
func (c *Client) PutRelease(ctx context.Context, r fleet.Release) error {
	key, err := c.keys.release(r.App, r.Name)
	if err != nil {
		return err
	}
	return again(func() error {
		old, err := c.get(ctx, key)
		if err != nil {
			return err
		}
		next, index := r, uint64(0)
		if old != nil {
			before, err := decodeRelease(r.App, r.Name, old.Value)
			if err != nil {
				return notOverwritten(key, err)
			}
			next, index = succeed(before, r), old.ModifyIndex
		}
		value, err := encodeRelease(next)
		if err != nil {
			return fault.New(fault.Invalid, "write %s: %w", key, err)
		}
		return c.swap(ctx, key, value, index)
	})
}

// succeed carries over what a new push of the same name must not forget.
func succeed(before, r fleet.Release) fleet.Release {
	if r.Stable == nil {
		r.Stable = before.Stable
	}
	if r.Failed == nil && before.Image == r.Image {
		r.Failed = before.Failed
	}
	return r
}

// MarkStable says that m.Image, deployed as this release, is good. A failed mark of the same image goes.
func (c *Client) MarkStable(ctx context.Context, app, name string, m fleet.Mark) error {
	return c.mark(ctx, app, name, m, func(r fleet.Release, fields map[string]any) {
		fields["stable"] = docOf(&m)
		if r.Failed != nil && r.Failed.Image == m.Image {
			fields["failed"] = nil
		}
	})
}

// MarkFailed says that a deploy of m.Image as this release failed. A stable mark stays.
func (c *Client) MarkFailed(ctx context.Context, app, name string, m fleet.Mark) error {
	return c.mark(ctx, app, name, m, func(_ fleet.Release, fields map[string]any) { fields["failed"] = docOf(&m) })
}

func (c *Client) mark(ctx context.Context, app, name string, m fleet.Mark, change func(fleet.Release, map[string]any)) error {
	m.Why = clean(m.Why, maxWhy)
	if err := checkMark(m); err != nil {
		return fault.New(fault.Invalid, "mark release %s of %s: %w", name, app, err)
	}
	return again(func() error {
		r, pair, err := c.release(ctx, app, name)
		if err != nil {
			return err
		}
		fields := map[string]any{}
		change(r, fields)
		value, err := patch(pair.Value, fields)
		if err != nil {
			return fault.New(fault.Invalid, "write %s: %w", pair.Key, err)
		}
		return c.swap(ctx, pair.Key, value, pair.ModifyIndex)
	})
}

// patch sets or (nil) removes fields of a document and keeps all others, also those of a newer program.
func patch(value []byte, fields map[string]any) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(value, &doc); err != nil {
		return nil, err
	}
	for name, v := range fields {
		if v == nil {
			delete(doc, name)
			continue
		}
		text, err := encode(v)
		if err != nil {
			return nil, err
		}
		doc[name] = text
	}
	return encode(doc)
}

// DeleteRelease removes a record; it is nothing if there is none.
func (c *Client) DeleteRelease(ctx context.Context, app, name string) error {
	key, err := c.keys.release(app, name)
	if err != nil {
		return err
	}
	q, cancel := c.writing(ctx)
	defer cancel()
	_, err = c.api.KV().Delete(key, q)
	return c.fault(ctx, "delete "+key, err)
}

// Current returns which release each service should run: the zero value where
// nothing was said yet, an error where the value cannot be read.
func (c *Client) Current(ctx context.Context, app string) (fleet.Current, error) {
	key, err := c.keys.current(app)
	if err != nil {
		return fleet.Current{}, err
	}
	pair, err := c.get(ctx, key)
	if err != nil || pair == nil {
		return fleet.Current{}, err
	}
	services, err := decodeCurrent(pair.Value)
	if err != nil {
		return fleet.Current{}, unreadable(key, err)
	}
	return fleet.Current{Services: services, Index: pair.ModifyIndex}, nil
}

// SetCurrent writes cur if nobody changed the key since it was read (fault.Conflict).
func (c *Client) SetCurrent(ctx context.Context, app string, cur fleet.Current) error {
	key, err := c.keys.current(app)
	if err != nil {
		return err
	}
	value, err := encodeCurrent(cur.Services)
	if err != nil {
		return fault.New(fault.Invalid, "write %s: %w", key, err)
	}
	err = c.swap(ctx, key, value, cur.Index)
	if errors.Is(err, fleet.ErrConflict) {
		return fault.WithHint(err, "somebody promoted or rolled back %s meanwhile; look at `svc-run audit` and call again", app)
	}
	return err
}

func again(write func() error) (err error) {
	for range attempts {
		if err = write(); !errors.Is(err, fleet.ErrConflict) {
			return err
		}
	}
	return err
}

func unreadable(key string, why error) error {
	return fault.WithHint(fault.New(fault.Invalid, "read %s: %w", key, why), "consul kv get %s", key)
}

func notOverwritten(key string, why error) error {
	return fault.WithHint(fault.New(fault.Refused, "write %s: what is there is left alone: %w", key, why), "look at it with `consul kv get %s`; remove it only if nobody needs it", key)
}
