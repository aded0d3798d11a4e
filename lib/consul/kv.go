package consul

import (
	"context"
	"strings"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
	"svckit/lib/fleet"
)

// maxValue is Consul's limit of one value (kv_max_value_size), in bytes.
const maxValue = 512 << 10

// get returns nil when there is no such key.
func (c *Client) get(ctx context.Context, key string) (*api.KVPair, error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	pair, _, err := c.api.KV().Get(key, q)
	if err != nil {
		return nil, c.fault(ctx, "read "+key, err)
	}
	return pair, nil
}

// list returns the pairs below prefix, without placeholders of folders. hidden
// says that there are keys which the token must not read.
func (c *Client) list(ctx context.Context, prefix string) (pairs []*api.KVPair, hidden bool, err error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	all, meta, err := c.api.KV().List(prefix, q)
	if err != nil {
		return nil, false, c.fault(ctx, "read "+prefix, err)
	}
	for _, p := range all {
		if p != nil && strings.HasPrefix(p.Key, prefix) && !strings.HasSuffix(p.Key, "/") {
			pairs = append(pairs, p)
		}
	}
	hidden, err = c.hidden(ctx, prefix, meta)
	return pairs, hidden, err
}

// names returns the keys below prefix, with a separator only up to it.
func (c *Client) names(ctx context.Context, prefix, separator string) (found []string, err error) {
	q, cancel := c.reading(ctx)
	defer cancel()
	all, meta, err := c.api.KV().Keys(prefix, separator, q)
	if err != nil {
		return nil, c.fault(ctx, "list "+prefix, err)
	}
	for _, key := range all {
		if rest, ok := strings.CutPrefix(key, prefix); ok && rest != "" {
			found = append(found, rest)
		}
	}
	if len(found) > 0 {
		return found, nil // apps of other teams may well be hidden
	}
	hidden, err := c.hidden(ctx, prefix, meta)
	if err == nil && hidden {
		err = notAllowed("list", prefix)
	}
	return nil, err
}

// hidden tells "none" from "not allowed". Consul drops from a list what the
// token must not read, and says so in a header, but never to a caller without a
// token. A read of one key is refused openly, so that one is asked then.
func (c *Client) hidden(ctx context.Context, prefix string, meta *api.QueryMeta) (bool, error) {
	if meta == nil || meta.ResultsFilteredByACLs || c.hasToken || meta.DefaultACLPolicy != "deny" {
		return meta != nil && meta.ResultsFilteredByACLs, nil
	}
	q, cancel := c.reading(ctx)
	defer cancel()
	_, _, err := c.api.KV().Get(prefix+"svckit-may-i-read", q)
	if statusCode(err) == 403 {
		return true, nil
	}
	return false, c.fault(ctx, "read "+prefix, err)
}

func notAllowed(verb, prefix string) error {
	return fault.WithHint(fault.New(fault.Failed, "%s %s: not allowed: the Consul token hides keys that are there", verb, prefix),
		"give the token the rule: key_prefix %q { policy = \"read\" }", prefix)
}

// swap writes a value if nobody changed the key since index; 0: since there was none.
func (c *Client) swap(ctx context.Context, key string, value []byte, index uint64) error {
	if len(value) > maxValue {
		return fault.New(fault.Invalid, "write %s: %d KiB is more than the %d KiB that Consul takes", key, (len(value)+1023)>>10, maxValue>>10)
	}
	q, cancel := c.writing(ctx)
	defer cancel()
	ok, _, err := c.api.KV().CAS(&api.KVPair{Key: key, Value: value, ModifyIndex: index}, q)
	switch {
	case err != nil:
		return c.fault(ctx, "write "+key, err)
	case !ok:
		return fault.New(fault.Conflict, "write %s: %w", key, fleet.ErrConflict)
	}
	return nil
}
