package judge

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// MaxScore is the highest score.
const MaxScore = 10

// scoreForm is the whole of an answer, in lower case and without what surrounds it: a name and a colon perhaps, a number
// of two digits at most before the point and four behind it, and perhaps what it is out of.
var scoreForm = regexp.MustCompile(`^(?:(?:score|rating|answer|similarity|similarity score|final score)[ \t]*:[ \t]*)?([0-9]{1,2}(?:\.[0-9]{1,4})?)(?:[ \t]*/[ \t]*10(?:\.0)?|[ \t]+out of[ \t]+10)?$`)

// errNotScore is what is wrong with an answer that has no form of a score.
var errNotScore = errors.New("not one number from 0 to 10")

// ParseScore reads the score of an answer. The whole answer has to be one of
//
//	7   7.5   10.0          a number of 0 to 10, with a decimal point and four decimals at most
//	7/10   7.5 out of 10    the same, and what it is out of
//	Score: 7                one of these behind a name: Score, Rating, Answer, Similarity, Similarity score, Final score
//
// in any case of letters, perhaps between asterisks or quotation marks, perhaps with a full stop, with white space around
// it. Anything else is an error: two numbers, a range, a decimal comma, words, a number above 10 or below 0.
func ParseScore(answer string) (float64, error) {
	s := strings.TrimSpace(answer)
	if len(s) > 64 {
		return 0, fmt.Errorf("judge: parse answer %s: %w", quoted(s), errNotScore)
	}
	for _, mark := range []string{"**", "*", "`", `"`} {
		if inner, ok := strings.CutPrefix(s, mark); ok {
			if inner, ok = strings.CutSuffix(inner, mark); ok {
				s = strings.TrimSpace(inner)
				break
			}
		}
	}
	s = strings.TrimSuffix(s, ".")
	if strings.HasSuffix(s, ".") { // "7.." is no number
		return 0, fmt.Errorf("judge: parse answer %s: %w", quoted(answer), errNotScore)
	}
	m := scoreForm.FindStringSubmatch(strings.ToLower(s))
	if m == nil {
		return 0, fmt.Errorf("judge: parse answer %s: %w", quoted(answer), errNotScore)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || v > MaxScore {
		return 0, fmt.Errorf("judge: parse answer %s: above %d", quoted(answer), MaxScore)
	}
	return v, nil
}

// quoted is the beginning of a text that somebody else wrote, without line ends and control characters.
func quoted(s string) string {
	if r := []rune(s[:min(len(s), 400)]); len(r) > 80 || len(s) > 400 {
		s = string(r[:min(len(r), 80)]) + "…"
	}
	return strconv.Quote(s)
}
