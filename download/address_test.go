package download

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relsim/download/downloadtest"
)

func TestPublic(t *testing.T) {
	for _, s := range []string{"1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "198.17.0.1", "223.255.255.255",
		"2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"} {
		if !public(netip.MustParseAddr(s)) {
			t.Errorf("%s is not public", s)
		}
	}
	for _, s := range []string{"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
		"100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::", "3fff::1", "4000::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1111%1"} {
		if public(netip.MustParseAddr(s)) {
			t.Errorf("%s is public", s)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestCheckURL(t *testing.T) {
	for s, want := range map[string]string{
		"http://example.com/a.png":               "http://example.com/a.png",
		"HTTPS://Example.com:8443/a?x=1#part":    "https://Example.com:8443/a?x=1",
		"http://name:secret@example.com/a":       "http://example.com/a",
		" http://example.com/a b ":               "http://example.com/a%20b",
		"http://[2606:4700::1111]/":              "http://[2606:4700::1111]/",
		"http://xn--bcher-kva.example/%E4?q=%20": "http://xn--bcher-kva.example/%E4?q=%20",
	} {
		u, err := checkURL(s)
		if err != nil || u.String() != want {
			t.Errorf("%q: %v, %v; want %s", s, u, err, want)
		}
	}
	for _, s := range []string{"", "example.com/a.png", "//example.com/a", "ftp://example.com/a", "file:///etc/passwd", "javascript:alert(1)", "data:image/png;base64,AA==",
		"http:", "http:///a", "http://", "http://exa mple.com/", "http://example.com:0/", "http://example.com:99999/", "http://example.com:x/", "http://a%2fb/", "http://\x00/",
		"http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://0x7f.1/", "http://127.0.0.1./", "http://[::1%25lo]/", "http://[::1/",
		"http://" + strings.Repeat("a", 300) + "/", "http://example.com/" + strings.Repeat("a", 9000)} {
		if u, err := checkURL(s); err == nil {
			t.Errorf("%.60q gives %v", s, u)
		}
	}
}

// names is a resolver that gives one answer after the other.
type names map[string][][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	answers := n[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		n[host] = answers[1:]
	}
	return answers[0], nil
}

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestForbidden asks for this machine and others of its network in many ways, and looks whether anyone has come.
func TestForbidden(t *testing.T) {
	var visits atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits.Add(1)
		w.Write(downloadtest.Picture(0))
	}))
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	o := quick(t, nil)
	o.AllowPrivate = false
	o.Resolver = names{
		"inside.test":  {addrs("127.0.0.1")},
		"mapped.test":  {addrs("::ffff:127.0.0.1")},
		"mixed.test":   {addrs("10.0.0.1", "127.0.0.1", "fe80::1")},
		"zero.test":    {addrs("0.0.0.0")},
		"nat64.test":   {addrs("64:ff9b::7f00:1")},
		"metadata":     {addrs("169.254.169.254")},
		"localhost":    {addrs("127.0.0.1")},
		"2130706433":   {addrs("127.0.0.1")},
		"0x7f000001":   {addrs("127.0.0.1")},
		"0177.0.0.1":   {addrs("127.0.0.1")},
		"127.1":        {addrs("127.0.0.1")},
		"example.0x7f": {addrs("127.0.0.1")},
	}
	var rows []downloadtest.Row
	for i, host := range []string{"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "0.0.0.0", "[::]", "localhost", "inside.test", "mapped.test", "mixed.test",
		"zero.test", "nat64.test", "metadata", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "example.0x7f", "user:127.0.0.1@inside.test", "127.0.0.2"} {
		rows = append(rows, downloadtest.Row{ID: fmt.Sprint(i), Kind: host, URL: "http://" + host + ":" + port + "/x", Status: Failed, Reason: "address of a private network"})
	}
	writeRows(t, o.From, rows)
	if err := mkdir(o.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, rows)
	if n := visits.Load(); n != 0 {
		t.Errorf("%d requests came to this machine", n)
	}
}

// TestForbiddenRedirect has a server that is allowed, which sends to one that is not.
func TestForbiddenRedirect(t *testing.T) {
	var visits atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	o := Default()
	o.Resolver = names{"inside.test": {addrs("127.0.0.1")}}
	c := newClient(&o, nil, new(atomic.Int64))
	defer c.close()
	hosts := []string{"127.0.0.1", "[::ffff:127.0.0.1]", "inside.test", "2130706433", "0177.1", "169.254.169.254", "[fd00:ec2::254]"}
	for _, host := range hosts {
		// The answer of the first server is made up: to reach it, its address would have to be public.
		from, err := checkURL("http://example.com/a")
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {"http://" + host + ":" + port + "/b"}}, Body: http.NoBody}
		_, next, f := c.answer(t.Context(), nil, from, r)
		if f == nil {
			hops := []string{from.String(), next.String()}
			_, f = c.get(t.Context(), next, &hops)
		}
		if f == nil || !strings.Contains(f.reason, "address of a private network") || f.again {
			t.Errorf("redirect to %s: %+v", host, f)
		}
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("%d requests came to this machine", n)
	}
}

// TestRebinding has a name that is public when it is looked up first and private when it is looked up again, as it is
// when a check and the connection each ask for themselves.
func TestRebinding(t *testing.T) {
	var visits atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer inside.Close()
	_, port, _ := net.SplitHostPort(inside.Listener.Addr().String())
	resolver := names{"rebind.test": {addrs("192.0.2.1"), addrs("127.0.0.1")}}
	d := &dialer{cache: newDNSCache(resolver), timeout: 2 * time.Second}
	for range 3 {
		if _, err := d.dial(t.Context(), "tcp", "rebind.test:"+port); !errors.Is(err, errForbidden) {
			t.Errorf("dial: %v", err)
		}
		d.cache.hosts["rebind.test"].expires = time.Time{} // it is looked up again
	}
	// Whatever the name gave, the address of the connection itself is held against the rule.
	for _, a := range []string{"127.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80", "169.254.169.254:80", "x"} {
		if err := d.control("tcp", a, nil); !errors.Is(err, errForbidden) {
			t.Errorf("connection to %s: %v", a, err)
		}
	}
	if err := d.control("tcp", "1.1.1.1:443", nil); err != nil {
		t.Errorf("connection to 1.1.1.1: %v", err)
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("%d connections came to this machine", n)
	}
}

// TestNothingForwarded looks at what a server is told, also behind a redirection to another host.
func TestNothingForwarded(t *testing.T) {
	var seen []http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		if r.URL.Path == "/a" {
			w.Header().Set("Set-Cookie", "id=1")
			http.Redirect(w, r, "http://u:p@other.test"+strings.TrimPrefix(r.Host, "one.test")+"/b", http.StatusFound)
			return
		}
		w.Write(downloadtest.Picture(0))
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	o := quick(t, nil)
	row := downloadtest.Row{ID: "a", URL: "http://name:secret@one.test:" + port + "/a", Status: Done, Picture: downloadtest.Picture(0)}
	writeRows(t, o.From, []downloadtest.Row{row})
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	checkRows(t, o.Dir, []downloadtest.Row{row})
	if len(seen) != 2 {
		t.Fatalf("%d requests, want 2", len(seen))
	}
	for _, h := range seen {
		for name := range h {
			switch name {
			case "User-Agent", "Accept", "Accept-Encoding":
			default:
				t.Errorf("the server is told %s: %s", name, h.Get(name))
			}
		}
		if h.Get("User-Agent") != DefaultUserAgent {
			t.Errorf("User-Agent %q", h.Get("User-Agent"))
		}
	}
}

// counter counts lookups.
type counter struct {
	names
	n atomic.Int64
}

func (c *counter) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	c.n.Add(1)
	time.Sleep(10 * time.Millisecond)
	return c.names.LookupNetIP(ctx, network, host)
}

func TestDNSCache(t *testing.T) {
	r := &counter{names: names{"a.test": {addrs("1.1.1.1")}}}
	c := newDNSCache(r)
	errs := make(chan error)
	for range 50 {
		go func() {
			a, err := c.lookup(t.Context(), "a.test")
			if err == nil && (len(a) != 1 || a[0].String() != "1.1.1.1") {
				err = fmt.Errorf("addresses %v", a)
			}
			errs <- err
		}()
	}
	for range 50 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		var dns *net.DNSError
		if _, err := c.lookup(t.Context(), "b.test"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("unknown host: %v", err)
		}
	}
	if a, err := c.lookup(t.Context(), "::1"); err != nil || a[0].String() != "::1" {
		t.Errorf("address itself: %v, %v", a, err)
	}
	if n := r.n.Load(); n != 2 {
		t.Errorf("%d lookups, want one for each name", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.lookup(ctx, "c.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("request that has ended: %v", err)
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://example.com/a?b#c", "https://u:p@[::1]:80/", "http://0x7f.1", "HTTP://a..b./", "http://a:99999", "http://%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := checkURL(s)
		if err != nil {
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Hostname() == "" || u.Fragment != "" {
			t.Errorf("%q gives %#v", s, u)
		}
		if again, err := checkURL(u.String()); err == nil && again.String() != u.String() {
			t.Errorf("%q gives %s, and that %s", s, u, again)
		}
	})
}
