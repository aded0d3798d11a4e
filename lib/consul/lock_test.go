package consul

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/fault"
)

func TestALockIsGivenUpEightSecondsAfterItsLastRenewal(t *testing.T) {
	down := errors.New("500")
	hang := func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	fail := func(context.Context) (bool, error) { return false, down }
	fine := func(context.Context) (bool, error) { return false, nil }
	gone := func(context.Context) (bool, error) { return true, nil }
	for _, row := range []struct {
		name  string
		calls []func(context.Context) (bool, error) // the last one goes on
		want  string
		after time.Duration
	}{
		{"every renewal refused", []func(context.Context) (bool, error){fail}, "no renewal for 8s", 8 * time.Second},
		{"every renewal hangs", []func(context.Context) (bool, error){hang}, "no renewal for 8s", 8 * time.Second},
		{"one renewal, then an outage", []func(context.Context) (bool, error){fine, fail}, "no renewal for 8s", 11 * time.Second},
		{"a short outage is borne", []func(context.Context) (bool, error){fail, fail, fine, gone}, "the session is gone or the key is another's", 8 * time.Second},
		{"session destroyed", []func(context.Context) (bool, error){gone}, "the session is gone or the key is another's", 3 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, n := time.Now(), -1
				why := keep(t.Context(), began, func(ctx context.Context) (bool, error) {
					n = min(n+1, len(row.calls)-1)
					return row.calls[n](ctx)
				})
				if took := time.Since(began); why != row.want || took != row.after {
					t.Errorf("lost after %s: %q; want after %s: %q", took, why, row.after, row.want)
				}
			})
		})
	}
}

func TestAReleasedLockIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if why := keep(ctx, time.Now(), func(context.Context) (bool, error) { return false, nil }); why != "" {
			t.Errorf("lost: %s", why)
		}
	})
}

func TestAConflictNamesTheHolder(t *testing.T) {
	value := []byte(`{"schema":1,"who":"ana","node":"node7","pid":4711,"command":"svc-run up shop/web","since":"2026-03-01T12:00:00Z"}`)
	err := conflict("svc/locks/shop/web", readLock(&api.KVPair{Session: "s", Value: value}))
	want := "lock svc/locks/shop/web: held by ana on node7 (pid 4711, svc-run up shop/web) since 2026-03-01T12:00:00Z"
	if err.Error() != want || fault.KindOf(err) != fault.Conflict {
		t.Errorf("%v\nwant %s", err, want)
	}
	err = conflict("svc/locks/shop/web", readLock(&api.KVPair{Session: "s-1", Value: []byte("\x1b[2J")}))
	if !strings.Contains(err.Error(), "an unknown holder (session s-1)") {
		t.Errorf("poisoned value: %v", err)
	}
}

func TestAForeignValueIsNoFreeLock(t *testing.T) {
	if h := readLock(&api.KVPair{Value: []byte("keep me")}); h.foreign == nil {
		t.Error("a foreign value would be overwritten")
	}
	if h := readLock(nil); h.foreign != nil || h.session != "" {
		t.Errorf("no key: %+v", h)
	}
}
