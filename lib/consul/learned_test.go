package consul

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"svckit/lib/planner"
	"svckit/lib/scale"
)

func learnedOf(t testing.TB, days int) []byte {
	t.Helper()
	var l scale.Learner
	var h scale.History
	now := time.Now().Unix()
	for at := now - int64(days)*86400; at <= now; at += 300 {
		l.See(at, float64(at%86400)/1000)
	}
	l.Settle(&h)
	value, err := encode(learnedDoc{Schema: schema, Learned: planner.Learned{Name: "shop/web", At: now, Days: l.Pack(&h, 28)}})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestWhatWasLearnedIsReadBackAndBounded(t *testing.T) {
	c := &Client{keys: keys{root: "svc/"}}
	got, err := c.readLearned(&api.KVPair{Key: "svc/scale/demand/shop/web", Value: learnedOf(t, 40), ModifyIndex: 7})
	if err != nil || got.Name != "shop/web" || got.Index != 7 || len(got.Days) != 29 {
		t.Errorf("%d days, %v", len(got.Days), err)
	}
	for name, p := range map[string]*api.KVPair{
		"a foreign key":    {Key: "svc/scale/demand/shop", Value: learnedOf(t, 1)},
		"a long value":     {Key: "svc/scale/demand/shop/web", Value: append(learnedOf(t, 1), make([]byte, maxLearned)...)},
		"a foreign value":  {Key: "svc/scale/demand/shop/web", Value: []byte(`{"days":[]}`)},
		"days of the past": {Key: "svc/scale/demand/shop/web", Value: []byte(`{"schema":1,"days":[{"day":-5,"most":1,"of":""}]}`)},
	} {
		if _, err := c.readLearned(p); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzLearned(f *testing.F) {
	f.Add(learnedOf(f, 2))
	f.Add([]byte(`{"schema":1,"at":5,"days":[{"day":5,"most":1e300,"of":"AAAA"}]}`))
	c := &Client{keys: keys{root: "svc/"}}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := c.readLearned(&api.KVPair{Key: "svc/scale/demand/shop/web", Value: value})
		if err != nil {
			return
		}
		var l scale.Learner
		var h scale.History
		l.Merge(&h, got.Days)
		if !h.Sound() || !l.Sound() {
			t.Errorf("unsound history of %s", value)
		}
		if _, err := json.Marshal(l.Pack(&h, 28)); err != nil {
			t.Error(err)
		}
	})
}
