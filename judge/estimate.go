package judge

import (
	"fmt"
	"math"
	"strconv"
)

// ImageTokens estimates the tokens that a picture of some size takes at a detail (low, high, auto or nothing).
type ImageTokens func(width, height int, detail string) int

// ParseImageTokens returns the rule of a name:
//
//	tiles     as GPT-4o and GPT-4.1 count: 85 at low detail, else 85 and 170 for each tile of 512×512 pixels of the picture,
//	          reduced to fit 2048×2048 and then to a shorter side of 768
//	patches   as smaller and newer models count: one for each 32×32 pixels begun, 1536 at most
//	N         that many for every picture
//
// Source: OpenAI's guide to images and vision, "Calculating costs".
func ParseImageTokens(name string) (ImageTokens, error) {
	switch name {
	case "tiles":
		return tiles, nil
	case "patches":
		return patches, nil
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 || n > 1_000_000 {
		return nil, fmt.Errorf("judge: tokens of a picture %q: want tiles, patches or a number of 1 to 1000000", name)
	}
	return func(int, int, string) int { return n }, nil
}

func tiles(width, height int, detail string) int {
	const base, tile, side = 85, 170, 512
	if detail == "low" {
		return base
	}
	w, h := float64(width), float64(height)
	if f := 2048 / max(w, h); f < 1 {
		w, h = w*f, h*f
	}
	if f := 768 / min(w, h); f < 1 {
		w, h = w*f, h*f
	}
	number := func(v float64) int { return int(math.Ceil(v/side - 1e-9)) }
	return base + tile*max(1, number(w))*max(1, number(h))
}

func patches(width, height int, _ string) int {
	const most, side = 1536, 32
	number := func(n int) int { return (n + side - 1) / side }
	if n := number(width) * number(height); n <= most {
		return n
	}
	w, h := float64(width)/side, float64(height)/side
	f := min(1, math.Sqrt(most/(w*h)))
	whole := func(v float64) float64 { return min(1, max(1, math.Floor(v))/v) } // of v, up to a border of patches
	f *= min(whole(w*f), whole(h*f))
	return max(1, min(most, int(math.Ceil(w*f-1e-9))*int(math.Ceil(h*f-1e-9))))
}

// textTokens estimates the tokens of a prompt: one for every four bytes, and twenty for the form around it.
func textTokens(p Prompt) int {
	return (len(p.Ask)+len(p.First)+len(p.Second)+len(p.End)+3)/4 + 20
}

// Price is what tokens cost, in any currency, for a million of them. Zero: not known.
type Price struct {
	Input  float64 `json:"input"`
	Output float64 `json:"output"`
}

// Of returns the cost of a usage.
func (p Price) Of(u Usage) float64 {
	return (float64(u.Input)*p.Input + float64(u.Output)*p.Output) / 1e6
}

// Known reports whether there is a price.
func (p Price) Known() bool { return p.Input > 0 || p.Output > 0 }

// Estimate is what it takes to answer the questions of a plan that are to be asked.
type Estimate struct {
	Pairs     int `json:"pairs"`     // of a query and a picture, over methods and ranks
	Questions int `json:"questions"` // distinct ones, both orders counted
	Answered  int `json:"answered"`  // of these, by earlier runs, and not to be asked again
	Broken    int `json:"broken"`    // of these, whose pictures cannot be read
	ToAsk     int `json:"to_ask"`
	// Input tokens are estimated, Output tokens are the most there can be: all of MaxTokens, every time. Tries that fail
	// come on top.
	Input  int     `json:"input_tokens"`
	Output int     `json:"output_tokens_at_most"`
	Cost   float64 `json:"cost_at_most,omitempty"`
}
