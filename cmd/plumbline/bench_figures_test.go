package main

import (
	"slices"
	"testing"
	"time"
)

// compare reports what took how long, beside what the loop took for the same: the medians in seconds, their ratio, and how
// far the ratios of single pairs lie apart, which is the machine's noise.
func compare(b *testing.B, what string, ours, loop []time.Duration) {
	b.Helper()
	b.ReportMetric(median(ours).Seconds(), what+"-s")
	b.ReportMetric(median(loop).Seconds(), what+"-loop-s")
	b.ReportMetric(median(ours).Seconds()/median(loop).Seconds(), what+"/loop")
	ratios := make([]float64, min(len(ours), len(loop)))
	for i := range ratios {
		ratios[i] = ours[i].Seconds() / loop[i].Seconds()
	}
	if len(ratios) > 1 {
		slices.Sort(ratios)
		b.ReportMetric(ratios[0], what+"/loop-least")
		b.ReportMetric(ratios[len(ratios)-1], what+"/loop-most")
	}
}
