package download

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"relsim/download/downloadtest"
)

// servePictures is a server in a process of its own: its time is not that of the benchmark.
func servePictures() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Write(downloadtest.Picture(i))
	}))
}

// BenchmarkRun downloads small pictures from a server on this machine, with 64 workers. Each round is a whole run, with
// its ledger and everything on the disk. DOWNLOAD_TEST_ROWS says how many pictures a round has.
func BenchmarkRun(b *testing.B) {
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), "DOWNLOAD_TEST_SERVER=1")
	out, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(strings.TrimSpace(address))
	n := rowsOf(b, 500)
	var rows []downloadtest.Row
	for i := range n {
		rows = append(rows, downloadtest.Row{ID: fmt.Sprintf("%08d", i), URL: fmt.Sprintf("http://h%d.test:%s/%d", i%16, port, i)})
	}
	o := quick(b, nil)
	writeRows(b, o.From, rows)
	o.FirstByte = 10 * time.Second
	dir := b.TempDir()
	round := 0
	before := cpuTime()
	for b.Loop() {
		o.Dir = filepath.Join(dir, strconv.Itoa(round))
		round++
		s, err := Run(b.Context(), o)
		if err != nil || s.Done != n {
			b.Fatalf("%v, %+v", err, s)
		}
	}
	images := float64(round * n)
	b.ReportMetric(images/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(1e3*(cpuTime()-before).Seconds()/images, "cpu-ms/image")
}
