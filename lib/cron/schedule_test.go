package cron

import (
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func schedule(t testing.TB, fields, in string) Schedule {
	t.Helper()
	s, err := New(fields, zone(t, in))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when.UTC()
}

// Berlin's clock goes from 02:00 to 03:00 on 29 March 2026 (01:00 UTC), and from
// 03:00 back to 02:00 on 25 October 2026 (01:00 UTC); Lord Howe's by half an hour.
func TestTicksFollowTheClockOfTheirZone(t *testing.T) {
	for _, row := range []struct {
		name, fields, zone, from string
		want                     []string
	}{
		{"every five minutes", "*/5 * * * *", "UTC", "2026-01-01T00:03:00Z", []string{"2026-01-01T00:05:00Z", "2026-01-01T00:10:00Z"}},
		{"a tick itself is not after itself", "0 3 * * *", "UTC", "2026-01-01T03:00:00Z", []string{"2026-01-02T03:00:00Z"}},
		{"an hour that is left out ticks at the change", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", []string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"two ticks of that hour are one", "15,45 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"}},
		{"a tick after the change is its own", "30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"}},
		{"a tick at the end of the gap is the same moment", "30 2 29 3 *", "Europe/Berlin", "2026-03-29T00:59:00Z", []string{"2026-03-29T01:00:00Z", "2027-03-29T00:30:00Z"}},
		{"an hour that is there twice ticks once", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"every hour goes on over a gap", "0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}},
		{"every hour ticks in both of two", "0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", []string{"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"}},
		{"every half hour over half an hour", "*/30 * * * *", "Australia/Lord_Howe", "2026-04-04T14:10:00Z", []string{"2026-04-04T14:30:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"}},
		{"a half hour that is left out", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		{"at the last minute before the clock goes back", "59 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T00:59:00Z", "2026-10-26T01:59:00Z"}},
		{"a day that is left out", "30 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T22:30:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:30:00Z"}},
		{"years away", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, now := schedule(t, row.fields, row.zone), at(t, row.from)
			for _, want := range row.want {
				if now = s.Next(now); !now.Equal(at(t, want)) {
					t.Fatalf("got %s, want %s", now.Format(time.RFC3339), want)
				}
			}
		})
	}
}

func TestTheNewestTickIsFoundFarBack(t *testing.T) {
	for _, row := range []struct {
		name, fields, after, until, tick string
		n                                int
	}{
		{"none", "0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T02:59:59Z", "", 0},
		{"itself", "0 3 * * *", "2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z", "2026-01-02T03:00:00Z", 1},
		{"a year of days", "0 3 * * *", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2025-12-31T03:00:00Z", 365},
		{"a year of minutes", "* * * * *", "2025-01-01T00:00:00Z", "2026-01-01T00:00:30Z", "2026-01-01T00:00:00Z", most},
		{"one in years", "0 0 29 2 *", "2020-03-01T00:00:00Z", "2027-01-01T00:00:00Z", "2024-02-29T00:00:00Z", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			tick, n := schedule(t, row.fields, "UTC").Last(at(t, row.after), at(t, row.until))
			got := ""
			if !tick.IsZero() {
				got = tick.Format(time.RFC3339)
			}
			if got != row.tick || n != row.n {
				t.Errorf("got %s and %d, want %s and %d", got, n, row.tick, row.n)
			}
		})
	}
}

func TestTicksGrowAndNoneIsPassedOver(t *testing.T) {
	fields := []string{"* * * * *", "*/7 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 */6 * * *", "0 0 1 * *", "59 23 * * 0", "30 2 25 10 *"}
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo"}
	rapid.Check(t, func(r *rapid.T) {
		s := schedule(t, rapid.SampledFrom(fields).Draw(r, "fields"), rapid.SampledFrom(zones).Draw(r, "zone"))
		from := time.Unix(rapid.Int64Range(1_500_000_000, 1_900_000_000).Draw(r, "from"), 0)
		next := s.Next(from)
		if !next.After(from) || next.Second() != 0 {
			r.Fatalf("after %s comes %s", from, next)
		}
		// Asked from anywhere before it and after from, the answer is the same.
		between := from.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(from))-1).Draw(r, "between")))
		if again := s.Next(between); !again.Equal(next) {
			r.Fatalf("after %s comes %s, but after %s comes %s", from, next, between, again)
		}
		if tick, n := s.Last(from, next); !tick.Equal(next) || n != 1 {
			r.Fatalf("last of %s until %s is %s and %d", from, next, tick, n)
		}
	})
}

func TestASchedulesTextMustBeOne(t *testing.T) {
	for _, text := range []string{"", "* * * *", "61 * * * *", "@daily", "* * * * * *"} {
		if _, err := New(text, time.UTC); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if _, err := New("* * * * *", nil); err == nil {
		t.Error("no zone was taken")
	}
}
