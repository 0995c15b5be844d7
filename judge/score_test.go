package judge

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestParseScore(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   float64
	}{
		{"7", 7}, {"0", 0}, {"10", 10}, {"10.0", 10}, {"7.5", 7.5}, {" 7.25\n", 7.25}, {"07", 7}, {"9.9999", 9.9999},
		{"7/10", 7}, {"7.5 / 10", 7.5}, {"7/10.0", 7}, {"7 out of 10", 7}, {"7 OUT OF 10.", 7},
		{"Score: 7.5", 7.5}, {"score:7", 7}, {"Rating: 3/10", 3}, {"Answer: 0", 0}, {"Similarity score: 4", 4}, {"Final Score: 9", 9},
		{"7.", 7}, {"**7**", 7}, {"*7*", 7}, {"`7`", 7}, {`"7"`, 7}, {"**Score: 7/10**", 7}, {"**7.5**.", -1},
	} {
		got, err := ParseScore(tt.answer)
		if tt.want < 0 {
			if err == nil {
				t.Errorf("%q is taken for %v", tt.answer, got)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%q is %v, %v: want %v", tt.answer, got, err, tt.want)
		}
	}
	for _, answer := range []string{
		"", " ", "seven", "11", "10.1", "-1", "+7", "7e0", "0x7", "7,5", "7-8", "7 8", "7 or 8", "7/5", "7/100", "7 of 10", "7%", "٧", "７", "NaN", "Inf",
		"100", "7.55555", ".5", "7..", "Score 7", "Score: ", "The score is 7", "7\n\nBecause both show a process.", "I would say 7.", "Score: 7 Score: 8", "7/10/10",
		"I'm sorry, I can't help with that.", `{"score": 7}`, "**7", "7**", "\"7", "score: score: 7", "10/10/10", "1\u00a00", strings.Repeat(" ", 100) + "Score: " + strings.Repeat(" ", 100) + "7",
	} {
		if got, err := ParseScore(answer); err == nil {
			t.Errorf("%q is taken for %v", answer, got)
		}
	}
}

// FuzzParseScore: a score lies in its range, is a number that stands in the answer, and the only one but for the 10 it is
// out of.
func FuzzParseScore(f *testing.F) {
	for _, s := range []string{"7", "7.5/10", "Score: 7", "**10**", "11", "7 out of 10", "a 7", "-3", "٧"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		got, err := ParseScore(answer)
		if err != nil {
			return
		}
		if !(got >= 0 && got <= MaxScore) {
			t.Fatalf("%q is %v", answer, got)
		}
		numbers := strings.FieldsFunc(answer, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		numbers = append(numbers, "")
		first, err := strconv.ParseFloat(strings.TrimSuffix(numbers[0], "."), 64)
		if err != nil || math.Abs(first-got) > 0 {
			t.Fatalf("%q is %v, the first number is %v", answer, got, numbers[0])
		}
		for _, n := range numbers[1:] {
			if n = strings.Trim(n, "."); n != "" && n != "10" && n != "10.0" {
				t.Fatalf("%q is %v, and has the number %s", answer, got, n)
			}
		}
	})
}
