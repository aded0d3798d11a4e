package scale

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheNextPlannerExpectsWhatThisOneDoes(t *testing.T) {
	h, l := week(0, 1, 1.1, 0.9, 1, 1, 1.05, 1), learner(1.2, curve)
	mine := l.Expect(h, noon, 15*time.Second)
	var next struct {
		h History
		l Learner
	}
	list := l.Pack(h, 14)
	if err := CheckDays(list, noon); err != nil {
		t.Fatal(err)
	}
	next.l.Merge(&next.h, list)
	got := next.l.Expect(&next.h, noon, 15*time.Second)
	if mine.Soon == 0 || math.Abs(got.Soon-mine.Soon) > 0.01*mine.Soon || math.Abs(got.Now-mine.Now) > 0.01*mine.Now || math.Abs(got.Spread-mine.Spread) > 0.01 || got.Days != mine.Days {
		t.Errorf("it expects %+v, this one %+v", got, mine)
	}
	next.l.See(noon+5, 30)
	if next.l.Settle(&next.h); len(next.h.Days) != 7 {
		t.Errorf("%d days after the next sample", len(next.h.Days))
	}
	next.l.See(noon+86400, 30)
	if next.l.Settle(&next.h); len(next.h.Days) != 8 {
		t.Errorf("%d days after the next day began", len(next.h.Days))
	}
}

func TestWhatWasSeenHereCountsAndGapsAreFilled(t *testing.T) {
	day := int64(noon / 86400)
	mine, theirs := HistoryDay{Day: day, Demand: unseen()}, HistoryDay{Day: day, Demand: unseen()}
	mine.Demand[3], theirs.Demand[3], theirs.Demand[4] = 7, 100, 50
	l, h := Learner{Today: mine}, History{}
	l.Merge(&h, []PackedDay{{Day: day - 2, Of: make([]byte, slots)}, theirs.pack()})
	if l.Today.Day != day || l.Today.Demand[3] != 7 || math.Abs(l.Today.Demand[4]-50) > 0.2 || l.Today.Demand[5] >= 0 {
		t.Errorf("today %v", l.Today.Demand[:6])
	}
	if len(h.Days) != 1 || h.Days[0].Day != day-2 {
		t.Errorf("history %+v", h.Days)
	}
	before := len(h.Days)
	if l.Merge(&h, nil); len(h.Days) != before || l.Today.Demand[3] != 7 {
		t.Error("nothing that was handed over changed something")
	}
	if (&Learner{}).Merge(&History{}, nil); (&Learner{}).Pack(&History{}, 5) == nil {
		t.Error("who knows nothing hands over no list")
	}
}

func TestAnOldDayIsTodayOnlyUntilTheNextSample(t *testing.T) {
	yesterday := HistoryDay{Day: noon/86400 - 1, Demand: unseen()}
	yesterday.Demand[9] = 4
	l, h := Learner{}, History{}
	l.Merge(&h, []PackedDay{yesterday.pack()})
	l.See(noon, 2)
	if l.Settle(&h); len(h.Days) != 1 || h.Days[0].Demand[9] != 4 || l.Today.Day != noon/86400 {
		t.Errorf("%+v, today %d", h.Days, l.Today.Day)
	}
}

func TestAFortnightAndTodayTakeSevenKilobytes(t *testing.T) {
	h, l := week(0, 1, 2, 1, 2, 1, 2, 1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1), learner(1.2, curve)
	list := l.Pack(h, 14)
	text, err := json.Marshal(list)
	if err != nil || len(list) != 15 || len(text) > 7000 {
		t.Errorf("%d days in %d bytes, %v", len(list), len(text), err)
	}
	t.Logf("%d days in %d bytes", len(list), len(text))
}

func TestDaysThatNobodyCanHaveSeenAreRefused(t *testing.T) {
	whole := make([]byte, slots)
	for want, list := range map[string][]PackedDay{
		"has 3 pieces":     {{Day: 1, Of: []byte{1, 2, 3}}},
		"has 0 pieces":     {{Day: 1}},
		"demand of -1":     {{Day: 1, Most: -1, Of: whole}},
		"demand of NaN":    {{Day: 1, Most: math.NaN(), Of: whole}},
		"demand of 1e+12":  {{Day: 1, Most: 1e12, Of: whole}},
		"has not come yet": {{Day: noon/86400 + 2, Of: whole}},
		"-4 has not come":  {{Day: -4, Of: whole}},
		"not in its order": {{Day: 5, Of: whole}, {Day: 5, Of: whole}},
		"30 days are more": make([]PackedDay, 30),
	} {
		err := CheckDays(list, noon)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestPackedDaysAreTheSameWithinHalfAPercentOfTheirPeak(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := HistoryDay{Day: 1, Demand: rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(0, 1e6), rapid.Just(-1.0), rapid.Just(0.0)), slots, slots).Draw(t, "demand")}
		got := d.pack().unpack()
		for i, x := range d.Demand {
			if (x < 0) != (got.Demand[i] < 0) || x >= 0 && math.Abs(got.Demand[i]-x) > 0.002*d.pack().Most+1e-9 {
				t.Fatalf("piece %d: %g became %g", i, x, got.Demand[i])
			}
		}
	})
}
