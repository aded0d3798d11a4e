package simulate

import "testing"

func BenchmarkADayOfNineMillionRequests(b *testing.B) {
	trace, err := Generate("T1", 1)
	if err != nil {
		b.Fatal(err)
	}
	work := Draw(trace, 1)
	oracle := NewOracle(trace, 15, 0.003)
	for b.Loop() {
		Run(work, Setup{}, oracle, nil)
	}
}
