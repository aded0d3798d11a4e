package consul

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"svckit/lib/fleet"
)

func TestAnAuditRecordIsShortenedToWhatAJournalKeeps(t *testing.T) {
	long := fleet.Audit{At: noon, App: "shop", Who: "ana", Command: "up", Error: strings.Repeat("ü\"", 5000), Result: "failed"}
	for i := range 500 {
		long.Plan = append(long.Plan, fmt.Sprintf("step %d %s", i, strings.Repeat("<", 400)))
	}
	value, err := encodeAudit(long)
	if err != nil || len(value) > 8192 {
		t.Fatalf("%d bytes, %v", len(value), err)
	}
	got, err := decodeAudit("svc/audit/", "svc/audit/shop/20260301T120000.000000Z-0a0b0c0d", value)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.Plan[0], "step 0 <<<") || !strings.HasSuffix(got.Plan[0], "…") || got.Plan[len(got.Plan)-1] != "…" {
		t.Errorf("plan of %d steps: first %q, last %q", len(got.Plan), got.Plan[0], got.Plan[len(got.Plan)-1])
	}
	if !strings.HasPrefix(got.Error, "ü\"ü") || !strings.HasSuffix(got.Error, "…") || got.Who != "ana" || got.Result != "failed" || !got.At.Equal(noon) {
		t.Errorf("got %+v", got)
	}
}

func TestAShortAuditRecordIsKeptAsItIs(t *testing.T) {
	want := fleet.Audit{Schema: 1, At: noon, Who: "ana", Node: "node1", Program: "svc-run", Command: "up web", App: "shop", Service: "web", Plan: []string{"start web-2: new release"}, Result: "ok", Changed: true, Seconds: 2.5}
	value, err := encodeAudit(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAudit("svc/audit/", "svc/audit/shop/20260301T120000.000000Z-0a0b0c0d", value)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTheAppOfARecordIsTheOneOfItsKey(t *testing.T) {
	value, _ := encodeAudit(fleet.Audit{At: noon, App: "other"})
	got, err := decodeAudit("svc/audit/", "svc/audit/shop/20260301T120000.000000Z-0a0b0c0d", value)
	if err != nil || got.App != "shop" {
		t.Errorf("app %q, %v", got.App, err)
	}
	for _, key := range []string{"svc/audit/shop", "svc/audit/shop/x", "svc/audit/Shop/20260301T120000.000000Z-0a0b0c0d", "svc/audit/shop/a/20260301T120000.000000Z-0a0b0c0d"} {
		if _, err := decodeAudit("svc/audit/", key, value); err == nil {
			t.Errorf("%s is taken for a record", key)
		}
	}
}

func TestOnlyTheOldestRecordsOfOursAreOverdue(t *testing.T) {
	names := []string{"foreign", "00000000T000000.000000Z-xyz"}
	for i := range keepRecords + 3 {
		names = append(names, auditName(noon.Add(time.Duration(-i)*time.Second), [4]byte{1, 2, 3, 4}))
	}
	want := "20260301T115638.000000Z-01020304 20260301T115639.000000Z-01020304 20260301T115640.000000Z-01020304"
	if got := strings.Join(overdue(names), " "); got != want {
		t.Errorf("overdue %s", got)
	}
	if got := overdue(names[:keepRecords+2]); len(got) != 0 {
		t.Errorf("overdue %v though only %d are there", got, keepRecords)
	}
}
