package metrics

// Interval is an estimate with its 95 % interval. For a statistic that is not a mean (a median, an area under a
// curve) Mean holds the statistic itself.
type Interval struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}
