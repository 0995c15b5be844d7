package study

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"relsim/regular"
)

// votesFormat is the format's name and version: the first value of a file.
const votesFormat = "relsim votes 1"

// Bounds of a file of votes.
const (
	maxLine  = 64 << 10
	maxVotes = 4 << 20
)

// Answers of a [Vote].
const (
	A    = "a"
	B    = "b"
	Same = "same"
)

// Vote is one answer of a rater. It says by itself who was compared.
type Vote struct {
	Task     string    `json:"task"`
	Revision int       `json:"revision"` // 0, and one more for each time that the rater has changed the answer
	Rater    string    `json:"rater"`
	Query    string    `json:"query"` // id of the picture
	A        string    `json:"a"`     // method whose picture stood as A
	B        string    `json:"b"`
	Answer   string    `json:"answer"` // A, B or Same
	Time     time.Time `json:"time"`
	Seconds  float64   `json:"seconds,omitempty"` // from the first sight to the answer, as the page says
}

// votesHead is the first line of a file.
type votesHead struct {
	Format string `json:"format"`
	Plan   *Plan  `json:"plan"`
}

// Votes are those of a file.
type Votes struct {
	Plan *Plan
	// List has the last answer of each rater to each question, in the order in which the questions were answered first.
	List []Vote

	at   map[voteKey]int // in List
	size int64           // bytes of the lines that have an end
}

type voteKey struct{ rater, task string }

// ReadVotes reads a file of votes. A last line without an end, which a kill has cut off before it was acknowledged, is
// dropped; anything else that does not fit is an error with its line.
func ReadVotes(path string) (*Votes, error) {
	f, _, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("study: read votes: %w", err)
	}
	defer f.Close()
	v, err := readVotes(f)
	if err != nil {
		return nil, fmt.Errorf("study: read votes: %s:%w", path, err)
	}
	return v, nil
}

func readVotes(f io.Reader) (*Votes, error) {
	v := &Votes{at: make(map[voteKey]int)}
	r := bufio.NewReaderSize(f, maxLine)
	for line := 1; ; line++ {
		b, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("%d: longer than %d bytes", line, maxLine)
		}
		if err == io.EOF {
			if v.Plan == nil {
				return nil, fmt.Errorf("%d: no votes: the first line is missing", line)
			}
			return v, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", line, err)
		}
		if line == 1 {
			err = v.head(b)
		} else {
			err = v.line(b)
		}
		if err != nil {
			return nil, fmt.Errorf("%d: %w", line, err)
		}
		v.size += int64(len(b))
	}
}

func (v *Votes) head(b []byte) error {
	var head votesHead
	if err := json.Unmarshal(b, &head); err != nil {
		return err
	}
	if head.Format != votesFormat {
		return fmt.Errorf("format is %q: want %q", head.Format, votesFormat)
	}
	if head.Plan == nil {
		return errors.New("no plan")
	}
	v.Plan = head.Plan
	return v.Plan.check()
}

func (v *Votes) line(b []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	var x Vote
	if err := decoder.Decode(&x); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("two values in one line")
	}
	return v.add(x)
}

// add takes a vote if it fits to those before it.
func (v *Votes) add(x Vote) error {
	if err := v.check(x); err != nil {
		return err
	}
	key := voteKey{x.Rater, x.Task}
	i, ok := v.at[key]
	if !ok {
		if x.Revision != 0 {
			return fmt.Errorf("revision %d of task %q: there was none before", x.Revision, x.Task)
		}
		if len(v.List) == maxVotes {
			return fmt.Errorf("more than %d votes", maxVotes)
		}
		v.at[key] = len(v.List)
		v.List = append(v.List, x)
		return nil
	}
	old := v.List[i]
	if x.Revision != old.Revision+1 {
		return fmt.Errorf("revision %d of task %q follows on %d", x.Revision, x.Task, old.Revision)
	}
	if x.Query != old.Query || x.A != old.A || x.B != old.B {
		return fmt.Errorf("task %q is another one than before", x.Task)
	}
	v.List[i] = x
	return nil
}

// check checks a vote by itself.
func (v *Votes) check(x Vote) error {
	if name, err := checkRater(x.Rater); err != nil || name != x.Rater {
		return fmt.Errorf("rater %.80q: want a name of up to %d characters", x.Rater, maxRater)
	}
	if x.Task == "" || len(x.Task) > 64 || x.Query == "" {
		return errors.New(`missing "task" or "query"`)
	}
	if !(x.Seconds >= 0 && x.Seconds <= math.MaxInt32) {
		return fmt.Errorf("%v seconds", x.Seconds)
	}
	switch x.Answer {
	case A, B, Same:
	default:
		return fmt.Errorf("answer %.20q: want %q, %q or %q", x.Answer, A, B, Same)
	}
	if v.other(x) < 0 {
		return fmt.Errorf("methods %.40q and %.40q: want %q and one of the others", x.A, x.B, v.Plan.Ours)
	}
	return nil
}

// other returns which of the plan's others a vote is about, or -1.
func (v *Votes) other(x Vote) int {
	name := x.B
	if x.B == v.Plan.Ours {
		name = x.A
	} else if x.A != v.Plan.Ours {
		return -1
	}
	for k, other := range v.Plan.Others {
		if other == name {
			return k
		}
	}
	return -1
}
