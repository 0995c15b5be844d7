package study

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relsim/retrieval"
)

// rankings has n queries by three methods. "theirs" finds the same picture as "ours" for every third query; "third" finds
// nothing for the first ten.
func rankings(n int) *retrieval.Rankings {
	r := &retrieval.Rankings{Data: "rows", Positives: "relation", Top: 1,
		Methods: []retrieval.RankedMethod{{Name: "theirs", Kind: retrieval.Baseline}, {Name: "ours", Kind: retrieval.Trained}, {Name: "third", Kind: retrieval.Baseline}}}
	for i := range n {
		r.Items = append(r.Items, retrieval.RankedItem{ID: fmt.Sprintf("id%d", i), Profile: -1})
		hit := func(by int) []retrieval.RankedHit {
			return []retrieval.RankedHit{{Item: (i + by) % n, Mark: retrieval.Wrong}}
		}
		rows := [][]retrieval.RankedHit{hit(2), hit(1), hit(3)}
		if i%3 == 0 {
			rows[0] = hit(1)
		}
		if i < 10 {
			rows[2] = nil
		}
		r.Queries = append(r.Queries, retrieval.RankedQuery{Item: i, Rows: rows})
	}
	return r
}

func plan(t testing.TB, n int, o Options) *Plan {
	t.Helper()
	p, err := New(rankings(n), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlan(t *testing.T) {
	p := plan(t, 90, Options{N: 1000, Seed: 1})
	if p.Ours != "ours" || !reflect.DeepEqual(p.Others, []string{"theirs", "third"}) {
		t.Errorf("ours %q, others %q", p.Ours, p.Others)
	}
	// 30 of 90 are the same picture; 10 of 90 have none.
	if !reflect.DeepEqual(p.Asked, []int{60, 80}) || !reflect.DeepEqual(p.Identical, []int{30, 0}) || p.Len() != 140 {
		t.Errorf("%v asked, %v identical, %d in all", p.Asked, p.Identical, p.Len())
	}
	for _, x := range p.triplets {
		by := 2 + x.other
		if x.ours != (x.query+1)%90 || x.theirs != (x.query+by)%90 || x.id != fmt.Sprintf("id%d", x.query) {
			t.Fatalf("%+v", x)
		}
	}
	few := plan(t, 90, Options{N: 7, Seed: 1, Ours: "third", Others: []string{"theirs"}})
	if few.Len() != 7 || few.Ours != "third" {
		t.Errorf("%+v", few)
	}
	if again := plan(t, 90, Options{N: 7, Seed: 1, Ours: "third", Others: []string{"theirs"}}); !reflect.DeepEqual(again, few) {
		t.Error("the same seed gave another plan")
	}
	if other := plan(t, 90, Options{N: 7, Seed: 2, Ours: "third", Others: []string{"theirs"}}); reflect.DeepEqual(other.triplets, few.triplets) {
		t.Error("another seed gave the same plan")
	}
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{N: 0}, "0 triplets for each method"},
		{Options{N: 1, Ours: "none"}, `no method "none": want some of theirs, ours, third`},
		{Options{N: 1, Others: []string{"none"}}, `no method "none"`},
		{Options{N: 1, Others: []string{"ours"}}, `method "ours" is there twice`},
		{Options{N: 1, Others: []string{"third", "third"}}, `method "third" is there twice`},
		{Options{N: 1, Others: []string{}}, "no query at which two methods find different pictures"},
	} {
		if _, err := New(rankings(20), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.o, err, tt.want)
		}
	}
}

// Orders and sides are drawn for each rater, and tell nothing: sides are even, and independent of the method.
func TestBlind(t *testing.T) {
	p := plan(t, 900, Options{N: 500, Seed: 3})
	var flips [2][2]int // by other, by side
	tasks := make(map[string]bool)
	for _, rater := range []string{"anna", "ben"} {
		for i, x := range p.triplets {
			side := 0
			if p.flipped(rater, i) {
				side = 1
			}
			flips[x.other][side]++
			tasks[p.task(rater, i)] = true
		}
	}
	for k, f := range flips {
		if n := f[0] + f[1]; math.Abs(float64(f[0])-float64(n)/2) > 4*math.Sqrt(float64(n))/2 {
			t.Errorf("method %d: ours is A %d times of %d", k, f[0], n)
		}
	}
	if len(tasks) != 2*p.Len() {
		t.Errorf("%d names of %d tasks", len(tasks), 2*p.Len())
	}
	a, b := p.order("anna"), p.order("ben")
	if reflect.DeepEqual(a, b) || !reflect.DeepEqual(a, p.order("anna")) {
		t.Error("orders of raters")
	}
	// The methods are mixed: in the first half of the order about half of the questions are about each.
	first := 0
	for _, i := range a[:len(a)/2] {
		first += p.triplets[i].other
	}
	if math.Abs(float64(first)-250) > 4*math.Sqrt(500)/2 {
		t.Errorf("%d of the first 500 questions are about the second method", first)
	}
}

func open(t testing.TB, path string, p *Plan) *Collection {
	t.Helper()
	c, err := Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCollect(t *testing.T) {
	p := plan(t, 30, Options{N: 10, Seed: 1})
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	c := open(t, path, p)
	if _, err := Open(path, p); err == nil || !strings.Contains(err.Error(), "another process adds votes") {
		t.Errorf("a second one: %v", err)
	}
	// anna prefers ours against theirs, and says "same" of the third; ben says B always.
	q, err := c.Ask(" anna ", Unanswered)
	if err != nil || q.Place != 0 || q.Total != 20 || q.Done != 0 || q.Task == "" || q.Answer != "" || q.Next == "" {
		t.Fatalf("%+v, %v", q, err)
	}
	answered := 0
	for q.Task != "" {
		i := c.find("anna", q.Task)
		answer := Same
		if x := p.triplets[i]; x.other == 0 {
			answer = A
			if c.Picture("anna", q.Task, SideA) != x.ours {
				answer = B
			}
			if a, b := c.Picture("anna", q.Task, SideA), c.Picture("anna", q.Task, SideB); a == b || a != x.ours && b != x.ours || c.Picture("anna", q.Task, SideQuery) != x.query {
				t.Fatalf("pictures %d and %d of %+v", a, b, x)
			}
		}
		if q, err = c.Answer("anna", q.Task, answer, q.Revision, 1.5); err != nil {
			t.Fatal(err)
		}
		if answered++; q.Done != answered {
			t.Fatalf("%d answered, the question says %d", answered, q.Done)
		}
	}
	if answered != 20 || q.Place != 20 {
		t.Errorf("%d answered, %+v", answered, q)
	}
	var bens [3]int // ours, tie, theirs
	for q, _ = c.Ask("ben", Unanswered); q.Task != ""; {
		x := p.triplets[c.find("ben", q.Task)]
		category := 2
		if c.Picture("ben", q.Task, SideB) == x.ours {
			category = 0
		}
		if x.other == 0 {
			bens[category]++
		}
		if q, err = c.Answer("ben", q.Task, B, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if votes, raters := c.Counts(); votes != 40 || raters != 2 {
		t.Errorf("%d votes of %d raters", votes, raters)
	}

	// Sent twice, an answer is one vote; another one needs to know of the first.
	before, _ := os.ReadFile(path)
	q, err = c.Ask("ben", 3)
	if err != nil || q.Answer != B || q.Revision != 1 || q.Place != 3 || q.Done != 20 {
		t.Fatalf("%+v, %v", q, err)
	}
	for _, revision := range []int{0, 1} {
		if _, err := c.Answer("ben", q.Task, B, revision, 0); err != nil {
			t.Error(err)
		}
	}
	for _, revision := range []int{0, 2, -1} {
		if _, err := c.Answer("ben", q.Task, A, revision, 0); !errors.Is(err, ErrConflict) {
			t.Errorf("revision %d: %v", revision, err)
		}
	}
	for _, bad := range []func() error{
		func() error { _, err := c.Answer("ben", q.Task, "C", 1, 0); return err },
		func() error { _, err := c.Answer("ben", "none", A, 1, 0); return err },
		func() error { _, err := c.Answer("anna", q.Task, A, 0, 0); return err }, // ben's task
		func() error { _, err := c.Answer("", q.Task, A, 0, 0); return err },
		func() error { _, err := c.Answer("ben", q.Task, A, 1, math.NaN()); return err },
		func() error { _, err := c.Answer("ben", q.Task, A, 1, -1); return err },
		func() error { _, err := c.Ask("ben", 20); return err },
		func() error { _, err := c.Ask("a\nb", 0); return err },
		func() error { _, err := c.Ask(strings.Repeat("ü", 65), 0); return err },
	} {
		if err := bad(); !errors.Is(err, ErrRequest) {
			t.Errorf("error %v", err)
		}
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file has changed")
	}
	if _, err := c.Answer("ben", q.Task, Same, 1, 2); err != nil {
		t.Fatal(err)
	}
	x := p.triplets[c.find("ben", q.Task)]
	if x.other == 0 {
		bens[1]++
		if c.Picture("ben", q.Task, SideB) == x.ours {
			bens[0]--
		} else {
			bens[2]--
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	// Gone on with; another plan is refused.
	c = open(t, path, p)
	if q, _ := c.Ask("ben", 3); q.Answer != Same || q.Revision != 2 {
		t.Errorf("opened again: %+v", q)
	}
	c.Close()
	for _, o := range []Options{{N: 9, Seed: 1}, {N: 10, Seed: 2}, {N: 10, Seed: 1, Others: []string{"third"}}} {
		if _, err := Open(path, plan(t, 30, o)); err == nil || !strings.Contains(err.Error(), "choose another file") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Open(path, plan(t, 31, Options{N: 10, Seed: 1})); err == nil || !strings.Contains(err.Error(), "of other rankings") {
		t.Errorf("other rankings: %v", err)
	}

	// What they say: anna 10 for ours and 10 ties, ben as counted above.
	v, err := ReadVotes(path)
	if err != nil {
		t.Fatal(err)
	}
	tally, err := Count([]*Votes{v}, 200, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := tally.Pairs[0]
	if got.Ours != 10+bens[0] || got.Tie != bens[1] || got.Theirs != bens[2] || got.Queries != 10 || got.Identical != p.Identical[0] || got.Asked != 10 {
		t.Errorf("%+v, want ben's %v and ten more", got, bens)
	}
	if third := tally.Pairs[1]; third.Total() != 20 || third.Tie < 10 {
		t.Errorf("third: %+v", third)
	}
	if want := float64(got.Ours) / 20; got.OursShare.Mean != want || !(got.OursShare.Low <= want && want <= got.OursShare.High) {
		t.Errorf("share %+v, want %v", got.OursShare, want)
	}
	if tally.Votes != 40 || tally.Agreement == nil || tally.Agreement.Units != 20 || tally.SideA == nil {
		t.Errorf("%+v", tally)
	}
	text := tally.Table()
	for _, want := range []string{"rows: 40 votes of 2 raters; ours against", "theirs                     20", "Agreement on 20 questions"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if _, err := Count([]*Votes{v, v}, 10, 1); err == nil || !strings.Contains(err.Error(), "in another file, too") {
		t.Errorf("one file twice: %v", err)
	}
}

// TestCountByHand has three raters and two questions: ours, ours, tie; theirs, theirs. Of the pairs of answers, one of three
// and one of one are equal.
func TestCountByHand(t *testing.T) {
	v := &Votes{Plan: &Plan{Data: "d", Ours: "o", Others: []string{"x"}, Asked: []int{2}, Identical: []int{5}}, at: make(map[voteKey]int)}
	for i, s := range []struct{ rater, query, a, answer string }{
		{"1", "p", "o", A}, {"2", "p", "x", B}, {"3", "p", "o", Same}, {"1", "q", "o", B}, {"2", "q", "x", A},
	} {
		b := "x"
		if s.a == "x" {
			b = "o"
		}
		if err := v.add(Vote{Task: fmt.Sprint(i), Rater: s.rater, Query: s.query, A: s.a, B: b, Answer: s.answer}); err != nil {
			t.Fatal(err)
		}
	}
	tally, err := Count([]*Votes{v}, 50, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := tally.Pairs[0]
	if p.Ours != 2 || p.Tie != 1 || p.Theirs != 2 || p.Queries != 2 || p.Lead.Mean != 0 || p.OursShare.Mean != 0.4 || p.TieShare.Mean != 0.2 {
		t.Errorf("%+v", p)
	}
	// Two clusters: p has shares 2/3, q 0. A resample is pp, pq or qq.
	if p.OursShare.Low != 0 || math.Abs(p.OursShare.High-2.0/3) > 1e-12 {
		t.Errorf("interval %+v", p.OursShare)
	}
	// Coincidences: question 1 has o_ours,tie = 2·2/2, question 2 none. n = 2, 1, 2 of 5.
	alpha := 1 - 4*2.0/(25-4-1-4)
	if a := tally.Agreement; a.Units != 2 || math.Abs(a.Pairs-0.5) > 1e-12 || math.Abs(*a.Alpha-alpha) > 1e-12 {
		t.Errorf("agreement %+v, want α %v", a, alpha)
	}
	if tally.SideA.Mean != 0.5 { // A, B, B, A
		t.Errorf("side A %+v", tally.SideA)
	}
	if text := tally.Table(); !strings.Contains(text, "x finds the same picture as o for 5 more queries that were drawn") {
		t.Error(text)
	}
}

// child runs in another process: it votes until it is killed, and prints every task whose vote it was told is kept.
func child(path string) {
	p, err := New(rankings(900), Options{N: 800, Seed: 1})
	if err == nil {
		var c *Collection
		if c, err = Open(path, p); err == nil {
			q, _ := c.Ask("anna", Unanswered)
			for q.Task != "" && err == nil {
				task := q.Task
				if q, err = c.Answer("anna", task, A, q.Revision, 0); err == nil {
					fmt.Println(task)
				}
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv("STUDY_CHILD"); path != "" {
		child(path)
		return
	}
	os.Exit(m.Run())
}

// TestKill kills a process that collects votes, again and again. Every vote that was acknowledged is there, once.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	acknowledged := make(map[string]bool)
	for round := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STUDY_CHILD="+path)
		var out, trouble bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &trouble
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var size int64
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // until it has voted for a while
			info, err := os.Stat(path)
			if err == nil && size == 0 {
				size = info.Size()
			}
			if err == nil && info.Size() > size+int64(2000*(round+1)) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("no votes: %s", trouble.String())
			}
		}
		cmd.Process.Kill()
		cmd.Wait()
		if trouble.Len() > 0 {
			t.Fatal(trouble.String())
		}
		lines := strings.Split(out.String(), "\n")
		for _, task := range lines[:len(lines)-1] { // the last may be half a line
			if acknowledged[task] {
				t.Fatalf("task %s was asked twice", task)
			}
			acknowledged[task] = true
		}
		v, err := ReadVotes(path)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[string]bool)
		for _, x := range v.List {
			have[x.Task] = true
		}
		for task := range acknowledged {
			if !have[task] {
				t.Fatalf("round %d: the vote of task %s is lost", round, task)
			}
		}
		if more := len(v.List) - len(acknowledged); more < 0 || more > 1+round { // kept, and not yet acknowledged
			t.Errorf("round %d: %d votes, %d acknowledged", round, len(v.List), len(acknowledged))
		}
		for _, x := range v.List {
			acknowledged[x.Task] = true
		}
	}
}

// What a kill leaves of the last line, or of the first, is dropped.
func TestCutOff(t *testing.T) {
	p := plan(t, 30, Options{N: 10, Seed: 1})
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	c := open(t, path, p)
	for range 2 {
		q, _ := c.Ask("anna", Unanswered)
		if _, err := c.Answer("anna", q.Task, A, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.IndexByte(whole, '\n')
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n')
	for cut := len(whole); cut >= 0; cut -= 7 {
		if err := os.WriteFile(path, whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		c := open(t, path, p)
		want := 0
		switch {
		case cut == len(whole):
			want = 2
		case cut > last:
			want = 1
		}
		if n, _ := c.Counts(); n != want {
			t.Errorf("%d of %d bytes: %d votes, want %d", cut, len(whole), n, want)
		}
		q, _ := c.Ask("anna", Unanswered)
		if _, err := c.Answer("anna", q.Task, B, 0, 0); err != nil {
			t.Error(err)
		}
		c.Close()
		if v, err := ReadVotes(path); err != nil || len(v.List) != want+1 {
			t.Errorf("%d of %d bytes: %v", cut, len(whole), err)
		}
	}
	// Another file that happens to lie there is left alone.
	for _, text := range []string{"my notes", string(whole[:head/2]) + "x", "{}\n", strings.Replace(string(whole), "votes 1", "votes 2", 1)} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, p); err == nil {
			t.Errorf("opened %.30q", text)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%.30q became %.30q", text, now)
		}
	}
	if _, err := Open(t.TempDir(), p); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none", "votes"), p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// full is a file on a disk that is full: half of a line fits.
type full struct {
	voteFile
	on bool
}

func (f *full) Write(b []byte) (int, error) {
	if !f.on {
		return f.voteFile.Write(b)
	}
	n, err := f.voteFile.Write(b[:len(b)/2])
	return n, errors.Join(err, syscall.ENOSPC)
}

func TestFullDisk(t *testing.T) {
	p := plan(t, 30, Options{N: 10, Seed: 1})
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	c := open(t, path, p)
	disk := &full{voteFile: c.file}
	c.file = disk
	q, _ := c.Ask("anna", Unanswered)
	for _, on := range []bool{false, true, true, false} {
		disk.on = on
		next, err := c.Answer("anna", q.Task, A, 0, 0)
		if on != errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("full %t: %v", on, err)
		}
		if err == nil {
			q = next
		} else if now, _ := c.Ask("anna", Unanswered); now != q {
			t.Errorf("a vote that was not kept: %+v, want %+v", now, q)
		}
	}
	c.Close()
	if v, err := ReadVotes(path); err != nil || len(v.List) != 2 {
		t.Errorf("%v", err)
	}
}

const (
	headLine = `{"format":"relsim votes 1","plan":{"data":"d","rankings":"h","ours":"o","others":["x"],"n":1,"seed":1,"identical":[0],"asked":[1]}}` + "\n"
	voteLine = `{"task":"t","revision":0,"rater":"anna","query":"q","a":"o","b":"x","answer":"a","time":"2026-01-02T03:04:05Z"}` + "\n"
)

func TestReadVotesRefuses(t *testing.T) {
	if v, err := readVotes(strings.NewReader(headLine + voteLine + strings.Replace(voteLine, `n":0`, `n":1`, 1))); err != nil || len(v.List) != 1 || v.List[0].Revision != 1 {
		t.Fatalf("%v", err)
	}
	vote := func(old, new string) string { return headLine + strings.Replace(voteLine, old, new, 1) }
	for text, want := range map[string]string{
		"":                                 "1: no votes: the first line is missing",
		"{}\n":                             `1: format is "": want "relsim votes 1"`,
		"no\n":                             "1: invalid character",
		voteLine:                           `1: format is ""`,
		headLine[:len(headLine)-3] + "}\n": "1: unexpected end",
		strings.Replace(headLine, `["x"]`, `["x","x"]`, 1): "1: study: plan",
		strings.Replace(headLine, `[0]`, `[]`, 1):          "1: study: plan: 1 methods to compare with, 0 and 1 counts",
		headLine + voteLine + voteLine:                     `3: revision 0 of task "t" follows on 0`,
		vote(`"revision":0`, `"revision":2`):               `2: revision 2 of task "t": there was none before`,
		vote(`"anna"`, `" anna"`):                          `2: rater " anna"`,
		vote(`"answer":"a"`, `"answer":"c"`):               `2: answer "c": want "a", "b" or "same"`,
		vote(`"b":"x"`, `"b":"y"`):                         `2: methods "o" and "y"`,
		vote(`"a":"o"`, `"a":"x"`):                         `2: methods "x" and "x"`,
		vote(`"query":"q"`, `"query":""`):                  `2: missing "task" or "query"`,
		vote(`"task"`, `"tusk"`):                           `2: json: unknown field "tusk"`,
		vote("}\n", "} {}\n"):                              "2: two values in one line",
		headLine + strings.Repeat(" ", maxLine+1) + "\n":   "2: longer than 65536 bytes",
		headLine + voteLine + strings.Replace(strings.Replace(voteLine, `n":0`, `n":1`, 1), `"q"`, `"p"`, 1): `3: task "t" is another one`,
	} {
		if _, err := readVotes(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: error %v, want %q", text, err, want)
		}
	}
}

func FuzzReadVotes(f *testing.F) {
	f.Add(headLine + voteLine)
	f.Add(headLine + voteLine + strings.Replace(voteLine, `n":0`, `n":1`, 1))
	f.Add(headLine + "half")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := readVotes(strings.NewReader(text))
		if err != nil {
			return
		}
		tally, err := Count([]*Votes{v}, 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range tally.Pairs {
			n += p.Total()
		}
		if n != len(v.List) || tally.Votes != n {
			t.Errorf("%d votes are %d", len(v.List), n)
		}
		tally.Table()
	})
}

// Raters vote at once, and each sends every answer from three windows: it is one vote.
func TestAtOnce(t *testing.T) {
	p := plan(t, 30, Options{N: 10, Seed: 1})
	path := filepath.Join(t.TempDir(), "votes.jsonl")
	c := open(t, path, p)
	var wait sync.WaitGroup
	for r := range 4 {
		wait.Go(func() {
			rater := fmt.Sprint("rater ", r)
			for q, err := c.Ask(rater, Unanswered); q.Task != ""; q, err = c.Ask(rater, Unanswered) {
				if err != nil {
					t.Error(err)
					return
				}
				var windows sync.WaitGroup
				var kept, conflicts atomic.Int32
				for w := range 3 {
					windows.Go(func() {
						answer := []string{A, A, B}[w]
						switch _, err := c.Answer(rater, q.Task, answer, q.Revision, 0); {
						case err == nil:
							kept.Add(1)
						case errors.Is(err, ErrConflict):
							conflicts.Add(1)
						default:
							t.Error(err)
						}
					})
				}
				windows.Wait()
				// Either both As are in, and B comes too late, or the other way round.
				if k, n := kept.Load(), conflicts.Load(); k+n != 3 || k < 1 || k > 2 {
					t.Errorf("%d kept, %d refused", k, n)
				}
			}
		})
	}
	wait.Wait()
	c.Close()
	v, err := ReadVotes(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); len(v.List) != 80 || n != 81 {
		t.Errorf("%d votes in %d lines", len(v.List), n)
	}
}
