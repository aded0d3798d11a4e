package follow

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"

	"svckit/lib/answer"
)

// Table holds the replies that can be given without a thought, by question: the
// name on the wire in lower case, followed by the two bytes of the type. Readers
// take no lock: a shard is replaced, never changed.
type Table struct {
	seed   maphash.Seed
	write  sync.Mutex
	shards [shards]atomic.Pointer[map[string]*prepared]
}

const shards = 256

// prepared is one reply and how long it may be given.
type prepared struct {
	reply *answer.Packed
	life  *life
}

// life is shared by all replies made from one subject.
type life struct {
	until atomic.Int64 // unix nanoseconds: not to be given from then on without asking again
	asked atomic.Int64 // unix seconds of the last question
}

func newTable() *Table {
	t := &Table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].Store(&map[string]*prepared{})
	}
	return t
}

// Find returns the reply to a question, nil if there is none ready. now is in unix nanoseconds.
func (t *Table) Find(key []byte, now int64) *answer.Packed {
	p := (*t.shards[maphash.Bytes(t.seed, key)%shards].Load())[string(key)]
	if p == nil || now >= p.life.until.Load() {
		return nil
	}
	if second := now / 1e9; p.life.asked.Load() != second {
		p.life.asked.Store(second)
	}
	return p.reply
}

// put publishes replies, nil taking one away.
func (t *Table) put(replies map[string]*answer.Packed, l *life) {
	t.write.Lock()
	defer t.write.Unlock()
	changed := map[uint64]map[string]*prepared{}
	for key, reply := range replies {
		n := maphash.String(t.seed, key) % shards
		if changed[n] == nil {
			changed[n] = maps.Clone(*t.shards[n].Load())
		}
		if reply == nil {
			delete(changed[n], key)
			continue
		}
		changed[n][key] = &prepared{reply, l}
	}
	for n, m := range changed {
		t.shards[n].Store(&m)
	}
}
