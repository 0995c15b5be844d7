package download

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relsim/dataloader"
	"relsim/download/downloadtest"
	"relsim/formats"
)

// TestMain lets the tests run a download in a process of its own, which can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("DOWNLOAD_TEST_SERVER") != "" {
		servePictures()
	}
	if text := os.Getenv("DOWNLOAD_TEST_CHILD"); text != "" {
		var o Options
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			panic(err)
		}
		o.Resolver = downloadtest.Resolver{}
		s, err := Run(context.Background(), o)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		json.NewEncoder(os.Stdout).Encode(s)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// rowsOf is how many addresses the large tests have: few, or as many as an environment variable says.
func rowsOf(t testing.TB, few int) int {
	if text := os.Getenv("DOWNLOAD_TEST_ROWS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return few
}

// quick returns options for a server on this machine.
func quick(t testing.TB, s *downloadtest.Server) Options {
	t.Helper()
	o := Default()
	o.Dir = filepath.Join(t.TempDir(), "out")
	o.From = filepath.Join(t.TempDir(), "rows.jsonl")
	o.Resolver = downloadtest.Resolver{}
	o.AllowPrivate = true
	o.Connect, o.FirstByte, o.Idle, o.Whole = 5*time.Second, 1500*time.Millisecond, 400*time.Millisecond, 20*time.Second
	o.Backoff, o.MaxWait = 10*time.Millisecond, 5*time.Second
	o.Tries = 3
	o.MaxBytes = 4 << 20
	if s != nil {
		o.RootCAs = s.RootCAs
		writeRows(t, o.From, s.Rows)
	}
	return o
}

func writeRows(t testing.TB, path string, rows []downloadtest.Row) {
	t.Helper()
	if err := os.WriteFile(path, downloadtest.JSONL(rows), 0o666); err != nil {
		t.Fatal(err)
	}
}

// checkRows holds the ledger and the pictures against what a server says they have to be.
func checkRows(t *testing.T, dir string, rows []downloadtest.Row) {
	t.Helper()
	states, err := States(dir)
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	fail := func(r downloadtest.Row, format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf("%s %s: %s", r.Kind, r.URL, fmt.Sprintf(format, args...))
		}
	}
	ids := make(map[string]bool)
	for _, r := range rows {
		ids[r.ID] = true
		s := states[r.ID]
		if s.Status != r.Status || !strings.HasPrefix(s.Reason, r.Reason) || r.Reason == "" && s.Reason != "" {
			fail(r, "%s, %q after %d tries; want %s, %q", s.Status, s.Reason, s.Tries, r.Status, r.Reason)
			continue
		}
		if s.Status != Done {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(s.File)))
		if err != nil {
			fail(r, "%v", err)
			continue
		}
		sum := sha256.Sum256(data)
		switch {
		case r.Picture != nil && !bytes.Equal(data, r.Picture):
			fail(r, "%d bytes are stored, others than the %d of the server", len(data), len(r.Picture))
		case s.Bytes != int64(len(data)) || s.SHA256 != hex.EncodeToString(sum[:]):
			fail(r, "the ledger says %d bytes, %s", s.Bytes, s.SHA256)
		case s.PHash == "" || s.Width == 0 || s.Height == 0 || s.When.IsZero():
			fail(r, "the ledger lacks something: %+v", s)
		}
	}
	if len(states) != len(ids) {
		t.Errorf("%d states, want %d", len(states), len(ids))
	}
	names, err := os.ReadDir(filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, s := range states {
		if s.Status == Done {
			done++
		}
	}
	if len(names) != done {
		t.Errorf("%d files in the folder, %d pictures are done", len(names), done)
	}
}

// TestRun downloads from a server that does what servers do, with a check of the memory taken.
func TestRun(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, rowsOf(t, 800))
	o := quick(t, server)
	var heap, progressed atomic.Uint64
	o.Progress = func(p Progress) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap.Store(max(heap.Load(), m.HeapInuse))
		progressed.Store(uint64(p.Done + p.Failed + p.Gone))
		if p.Total != len(server.Rows) {
			t.Errorf("progress is of %d rows, want %d", p.Total, len(server.Rows))
		}
	}
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	counts := server.Counts()
	t.Logf("%d rows: %d done, %d failed, %d gone in %.1f s; %d requests, %d connections at most, heap %d MB at most",
		s.Rows, s.Done, s.Failed, s.Gone, s.Seconds, counts.Requests, counts.Connections, heap.Load()>>20)
	checkRows(t, o.Dir, server.Rows)
	if s.Pending != 0 || s.Done+s.Failed+s.Gone != len(server.Rows) || s.Tried != len(server.Rows) || s.Fetched != s.Done || progressed.Load() != uint64(len(server.Rows)) {
		t.Errorf("summary %+v, progress up to %d", s, progressed.Load())
	}
	states, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range server.Rows {
		path := downloadtest.Path(r.URL)
		if n, tries := counts.Delivered[path]+counts.Delivered[path+"/there"], states[r.ID].Tries; n > 1 && n > tries {
			t.Errorf("%s was fetched %d times, the ledger says %d", path, n, tries)
		} else if n > 1 { // a time limit ended it, on a machine that is busy
			t.Logf("%s was fetched %d times", path, n)
		}
	}
	// Requests that are under way when a host asks for a pause come in it; there are fewer each time it asks. Without
	// pauses nearly all of the 120 of such hosts would come in them, where there are 20,000 rows.
	if most := 7 * (o.PerHost + 4); counts.Early > most {
		t.Errorf("%d requests to hosts that had asked for a pause, want at most %d", counts.Early, most)
	}
	if heap.Load() > 500<<20 {
		t.Errorf("the heap took %d MB", heap.Load()>>20)
	}
	// Another run finds nothing to do, and what it has made opens as a data set.
	if s, err = Run(t.Context(), o); err != nil || s.Tried != 0 {
		t.Errorf("second run: %+v, %v", s, err)
	}
	if again := server.Counts(); again.Requests != 0 {
		t.Errorf("second run: %d requests", again.Requests)
	}
	ds, err := formats.Open(t.Context(), filepath.Join(o.Dir, "rows.jsonl"), formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for i := range ds.Len() {
		if _, err := ds.Image(t.Context(), i); err == nil {
			read++
		} else if server.Rows[i].Status == Done {
			t.Errorf("row %d: %v", i, err)
		}
	}
	if read != s.Done {
		t.Errorf("%d pictures can be read, %d are done", read, s.Done)
	}
}

// TestKill ends a download by force, ten times at random moments; at most the requests in flight are made again.
func TestKill(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" || runtime.GOOS == "js" {
		t.Skip("NOT RUN: needs processes that can be killed")
	}
	server := downloadtest.New(t, rowsOf(t, 600))
	rows := server.Only("picture", "slow", "gzip", "redirect", "redirect-host", "404", "html", "noai", "noai-others", "cut")
	o := quick(t, nil)
	o.Workers = 16
	writeRows(t, o.From, rows)
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	child := func() *exec.Cmd {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "DOWNLOAD_TEST_CHILD="+string(text))
		c.Stderr = os.Stderr
		return c
	}
	kills := 0
	delivered := make(map[string]int)
	collect := func() {
		for path, n := range server.Counts().Delivered {
			delivered[path] += n
		}
	}
	for try := 0; kills < 10 && try < 40; try++ {
		c := child()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		// The moment: a share of the pictures that are left, since the speed of machines differs.
		before := server.Delivered()
		want := before + 1 + rand.IntN(max(1, (len(rows)-before)/5))
		for alive := true; alive; {
			select {
			case err := <-ended:
				if err != nil {
					t.Fatal(err)
				}
				alive = false
			default:
				if server.Delivered() >= want {
					if err := c.Process.Kill(); err != nil {
						t.Fatal(err)
					}
					<-ended
					kills++
					alive = false
				}
				time.Sleep(200 * time.Microsecond)
			}
		}
		if c.ProcessState.Success() {
			break
		}
	}
	out, err := child().Output()
	if err != nil {
		t.Fatal(err)
	}
	var s Summary
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	collect()
	checkRows(t, o.Dir, rows)
	twice := 0
	for path, n := range delivered {
		twice += n - 1
		if n > 1+kills {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
	t.Logf("%d rows, killed %d times: %d answers were asked for again, %.1f for each kill; %d workers", len(rows), kills, twice, float64(twice)/float64(max(1, kills)), o.Workers)
	if kills < 10 {
		t.Errorf("killed %d times, want 10", kills)
	}
	if twice > kills*o.Workers {
		t.Errorf("%d answers were asked for again, want at most %d in flight, %d times", twice, o.Workers, kills)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 300)
	rows := server.Fast()
	o := quick(t, server)
	writeRows(t, o.From, rows)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Progress = func(p Progress) {
		if p.Done > 20 {
			cancel()
		}
	}
	s, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || s.Done <= 20 || s.Pending == 0 {
		t.Fatalf("interrupted: %v, %+v", err, s)
	}
	states, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, st := range states {
		if st.Status == Done {
			done++
		}
	}
	if done != s.Done {
		t.Errorf("the ledger has %d done, the summary %d", done, s.Done)
	}
	o.Progress = nil
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
}

func TestLock(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 100)
	o := quick(t, server)
	writeRows(t, o.From, server.Fast())
	refused := make(chan error, 1)
	o.Progress = func(Progress) {
		select {
		case refused <- func() error { o := o; o.Progress = nil; _, err := Run(t.Context(), o); return err }():
		default:
		}
	}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "another run is at work in "+o.Dir) {
		t.Errorf("second run: %v", err)
	}
}

// TestDuplicates has rows that share an address, or an image_hash.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 100)
	var rows, all []downloadtest.Row
	for _, r := range server.Rows {
		if r.Kind == "picture" || r.Kind == "404" {
			rows = append(rows, r)
		}
	}
	for _, r := range rows {
		other := r
		other.ID += "x"
		all = append(all, r, other, r)
	}
	o := quick(t, server)
	writeRows(t, o.From, all)
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, all)
	if n := server.Counts().Requests; n != len(rows) {
		t.Errorf("%d requests for %d addresses", n, len(rows))
	}
	// A new row with an old address costs no request either.
	later := find(t, server, "picture")
	later.ID = "later"
	all = append(all, later)
	writeRows(t, o.From, all)
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, all)
	if n := server.Counts().Requests; n != 0 || s.Pictures != 2*len(rows)+1 || s.Fetched != 1 {
		t.Errorf("%d requests, summary %+v", n, s)
	}
}

// TestAlternatives has rows of one picture with several addresses, the first of which has nothing.
func TestAlternatives(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 100)
	bad := find(t, server, "404")
	good := find(t, server, "picture")
	good.ID = bad.ID
	o := quick(t, server)
	writeRows(t, o.From, []downloadtest.Row{bad, good})
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, []downloadtest.Row{good})
}

func find(t *testing.T, s *downloadtest.Server, kind string) downloadtest.Row {
	t.Helper()
	i := slices.IndexFunc(s.Rows, func(r downloadtest.Row) bool { return r.Kind == kind })
	if i < 0 {
		t.Fatalf("the server has no %s", kind)
	}
	return s.Rows[i]
}

func TestRetry(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 200)
	o := quick(t, server)
	rows := server.Only("404", "410", "403", "html", "mute", "picture", "garbage", "nx")
	writeRows(t, o.From, rows)
	o.Tries = 1
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	first, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, retry := range []string{RetryFailed, RetryTimeouts, RetryAll} {
		server.Counts()
		o.Retry = retry
		s, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, st := range first {
			if st.Status == Failed && (retry != RetryTimeouts || strings.HasPrefix(st.Reason, "timeout")) || st.Status == Gone && retry == RetryAll {
				want++
			}
		}
		if s.Tried != want || want == 0 {
			t.Errorf("--retry %s: %d pictures looked after again, want %d", retry, s.Tried, want)
		}
	}
	checkRows(t, o.Dir, rows)
	again, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	row := find(t, server, "404")
	if n := again[row.ID].Tries; n != 2 {
		t.Errorf("a row that is gone was tried %d times in two runs, want 2", n)
	}
	// A row whose address has changed is looked after without being asked to.
	o.Retry = RetryNone
	good := find(t, server, "picture")
	good.ID = row.ID
	writeRows(t, o.From, []downloadtest.Row{good})
	if s, err := Run(t.Context(), o); err != nil || s.Fetched != 1 || s.Done != 1 {
		t.Errorf("with another address: %+v, %v", s, err)
	}
}

// TestFallback asks a mirror for what the address has not.
func TestFallback(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 200)
	o := quick(t, server)
	var rows []downloadtest.Row
	for _, kind := range []string{"404", "403", "drip", "noai", "nx", "garbage", "picture"} {
		r := find(t, server, kind)
		if kind != "noai" {
			r.Status, r.Reason = Done, ""
		}
		r.Picture = nil
		rows = append(rows, r)
	}
	writeRows(t, o.From, rows)
	mirror := find(t, server, "picture").URL
	o.Fallback = mirror[:strings.LastIndex(mirror, "/")] + "/7?id={image_hash}"
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
	states, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := states[rows[0].ID].URL, strings.Replace(o.Fallback, "{image_hash}", rows[0].ID, 1); got != want {
		t.Errorf("fetched from %s, want %s", got, want)
	}
	// What the mirror has not either keeps the reason of the address.
	o.Dir = t.TempDir()
	o.Fallback = strings.Replace(find(t, server, "403").URL, "403/", "403/{image_hash}", 1)
	rows = []downloadtest.Row{find(t, server, "404"), find(t, server, "html")}
	writeRows(t, o.From, rows)
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
}

func TestLimit(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 100)
	o := quick(t, server)
	rows := server.Fast()
	writeRows(t, o.From, rows)
	o.Limit = 30
	for want := 30; want <= 90; want += 30 {
		s, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if s.Done+s.Failed+s.Gone != want || s.Pending != len(rows)-want {
			t.Errorf("after runs of 30 pictures: %+v, want %d settled", s, want)
		}
	}
}

// TestPostpone has a host that asks to wait for longer than we do, and one that does not answer at all.
func TestPostpone(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 100)
	o := quick(t, server)
	o.MaxWait = 500 * time.Millisecond
	row := find(t, server, "429")
	mute := find(t, server, "refused")
	rows := []downloadtest.Row{row}
	for i := range 40 {
		r := mute
		r.ID = fmt.Sprint("mute", i)
		r.URL += fmt.Sprint("/", i)
		rows = append(rows, r)
	}
	writeRows(t, o.From, rows)
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	states, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if st := states[row.ID]; st.Status != Pending || st.Reason != "HTTP 429 (asks to wait 1s)" {
		t.Errorf("the host that asks to wait: %+v", st)
	}
	if s.Postponed < 20 || s.Pending != s.Postponed {
		t.Errorf("of 41 pictures %d are postponed, %d pending", s.Postponed, s.Pending)
	}
	o.MaxWait = 5 * time.Second
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if states, err = States(o.Dir); err != nil || states[row.ID].Status != Done {
		t.Errorf("in the next run: %+v, %v", states[row.ID], err)
	}
}

// TestOffline has no host that answers.
func TestOffline(t *testing.T) {
	t.Parallel()
	o := quick(t, nil)
	var rows []downloadtest.Row
	for i := range 300 {
		rows = append(rows, downloadtest.Row{ID: fmt.Sprint("r", i), URL: fmt.Sprintf("http://h%d.test:1/x", i)})
	}
	writeRows(t, o.From, rows)
	o.Tries, o.Backoff = 4, 200*time.Millisecond
	s, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "is the network down?") {
		t.Fatalf("offline: %v, %+v", err, s)
	}
	if s.Pending < 200 {
		t.Errorf("%d rows are pending, want most of 300: %+v", s.Pending, s)
	}
	// Without a network a name server may say that a host does not exist: its rows are left to the next run too.
	rows = rows[:100]
	for i := range rows {
		rows[i].URL = fmt.Sprint("http://nx.test/", i)
	}
	writeRows(t, o.From, rows)
	o.Dir = t.TempDir()
	if s, err = Run(t.Context(), o); err != nil || s.Pending < 80 {
		t.Errorf("host that is not found: %+v, %v", s, err)
	}
}

// TestAdopt finds pictures that are there already, as after a run that was killed before it noted them.
func TestAdopt(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 200)
	o := quick(t, server)
	var rows []downloadtest.Row
	for _, r := range server.Rows {
		if r.Kind == "picture" {
			rows = append(rows, r)
		}
	}
	rows = rows[:4]
	writeRows(t, o.From, rows)
	images := filepath.Join(o.Dir, "images")
	if err := os.MkdirAll(images, 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(images, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(rows[0].ID+".png", rows[0].Picture)
	write(rows[1].ID+".webp", rows[1].Picture[:50]) // broken: fetched anew, and removed
	write(".part-1-1", []byte("left behind"))
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
	if n := server.Counts().Requests; n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	// Pictures that have vanished or are of another size are fetched again.
	states, err := States(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(o.Dir, states[rows[2].ID].File)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, states[rows[3].ID].File), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if s, err := Run(t.Context(), o); err != nil || s.Fetched != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	checkRows(t, o.Dir, rows)
}

// TestGroups has the layout of seed groups.
func TestGroups(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 200)
	var urls []string
	pictures := make(map[string][]byte)
	for _, r := range server.Rows {
		if r.Kind == "picture" {
			urls = append(urls, r.URL)
			pictures[r.URL] = r.Picture
		}
	}
	groups := []map[string]any{
		{"anonymous_caption": `"{Subject} growing"`, "image_urls": urls[:3]},
		{"anonymous_caption": `"{Subject} shrinking"`, "image_urls": append([]string{urls[0]}, urls[3:5]...)}, // the first one is in both
	}
	text, err := json.Marshal(groups)
	if err != nil {
		t.Fatal(err)
	}
	o := quick(t, nil)
	o.From = filepath.Join(t.TempDir(), "seed_group.json")
	if err := os.WriteFile(o.From, text, 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s.Rows != 6 || s.Done != 5 || server.Counts().Requests != 5 {
		t.Errorf("summary %+v", s)
	}
	ds, err := formats.Open(t.Context(), filepath.Join(o.Dir, "seed_group.json"), formats.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range ds.Len() {
		it := ds.Item(i)
		data, err := dataloader.Bytes(t.Context(), ds, i)
		if err != nil || !bytes.Equal(data, pictures[it.URL]) {
			t.Errorf("%s: %v", it.Path, err)
		}
		if want := filepath.Join(o.Dir, "images", "group_"+it.Group, it.ID); strings.TrimSuffix(it.Path, filepath.Ext(it.Path)) != want {
			t.Errorf("picture %d is %s, want %s", i, it.Path, want)
		}
	}
	if s, err := Run(t.Context(), o); err != nil || s.Tried != 0 {
		t.Errorf("again: %+v, %v", s, err)
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 200)
	var rows []downloadtest.Row
	for _, r := range server.Rows {
		if r.Kind == "picture" {
			rows = append(rows, r)
		}
	}
	for format, ext := range map[string]string{PNG: ".png", JPEG: ".jpg", WebP: ".webp"} {
		o := quick(t, server)
		writeRows(t, o.From, rows[:8])
		o.Encode, o.Resize = format, 20
		if _, err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		states, err := States(o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[:8] {
			s := states[r.ID]
			if s.Status != Done || filepath.Ext(s.File) != ext || min(s.Width, s.Height) != 20 || !strings.Contains(s.Reason, "resized") {
				t.Errorf("%s: %+v", format, s)
				continue
			}
			want, err := dataloader.Decode(r.Picture, dataloader.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			got, err := dataloader.DecodeFile(filepath.Join(o.Dir, s.File), dataloader.DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if got.Width != s.Width || got.Height != s.Height || abs(got.Width*want.Height-got.Height*want.Width) > max(want.Width, want.Height) {
				t.Errorf("%s: %d×%d pixels of %d×%d", format, got.Width, got.Height, want.Width, want.Height)
			}
			if d := abs(mean(got) - mean(want)); d > 6 {
				t.Errorf("%s: its mean is %d away from that of the picture", format, d)
			}
		}
	}
}

func abs(n int) int { return max(n, -n) }

// mean is the mean of all values.
func mean(im *dataloader.Image) int {
	sum := 0
	for _, v := range im.Pix {
		sum += int(v)
	}
	return sum / len(im.Pix)
}

// TestFaults has folders that cannot be written to, and rows that cannot be read.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := downloadtest.New(t, 100)
	expect := func(name string, o Options, want string) {
		t.Helper()
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	o := quick(t, server)
	o.From = filepath.Join(t.TempDir(), "none.jsonl")
	expect("no rows", o, "none.jsonl")
	o = quick(t, server)
	o.Dir = o.From
	expect("folder is a file", o, "not a directory")
	o = quick(t, server)
	if err := os.WriteFile(o.From, []byte(`{"image_hash":"a","caption":"b"}`), 0o666); err != nil {
		t.Fatal(err)
	}
	expect("no addresses", o, "none of 1 rows has an address")
	o = quick(t, server)
	o.From = filepath.Dir(o.From)
	expect("rows are a folder", o, "is not a file")
	o = quick(t, server)
	if err := os.WriteFile(o.From, []byte("{\"image_hash\":\"a\"}\n{\"image_hash\":\"../../x\",\"url_link\":\"http://h0.test/x\"}"), 0o666); err != nil {
		t.Fatal(err)
	}
	expect("path in an image_hash", o, "rows.jsonl:2")

	o = quick(t, server)
	gone := false
	o.Progress = func(p Progress) { // the folder vanishes on the way
		if !gone && p.Done > 3 {
			gone = true
			os.RemoveAll(o.Dir)
		}
	}
	if _, err := Run(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("vanished folder: %v", err)
	}
}

// mkdir makes the folder of a download, with the one of its pictures.
func mkdir(dir string) error { return os.MkdirAll(filepath.Join(dir, "images"), 0o777) }
