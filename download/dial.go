package download

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Resolver finds the addresses of a host. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

const (
	dnsKept      = 5 * time.Minute  // how long addresses are known
	dnsFailKept  = 30 * time.Second // how long it is known that there are none
	dnsEntries   = 100_000
	dnsTimeout   = 15 * time.Second
	dnsAtOnce    = 32 // lookups at the same time
	maxAddresses = 4  // of a host that are tried
)

// dnsCache remembers the addresses of hosts. A host is looked up once, however many ask for it.
type dnsCache struct {
	resolver Resolver
	slots    chan struct{}

	mu    sync.Mutex
	hosts map[string]*dnsEntry
}

type dnsEntry struct {
	ready   chan struct{} // closed when the rest is set
	addrs   []netip.Addr
	err     error
	expires time.Time
}

func newDNSCache(r Resolver) *dnsCache {
	return &dnsCache{resolver: r, slots: make(chan struct{}, dnsAtOnce), hosts: make(map[string]*dnsEntry)}
}

// lookup returns the addresses of a host.
func (c *dnsCache) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	c.mu.Lock()
	e := c.hosts[host]
	if e != nil {
		select {
		case <-e.ready:
			if time.Now().After(e.expires) {
				e = nil
			}
		default:
		}
	}
	if e == nil {
		if len(c.hosts) >= dnsEntries {
			for name, old := range c.hosts { // any: what is needed again is looked up again
				select {
				case <-old.ready:
					delete(c.hosts, name)
				default:
				}
				if len(c.hosts) < dnsEntries*9/10 {
					break
				}
			}
		}
		e = &dnsEntry{ready: make(chan struct{})}
		c.hosts[host] = e
		go c.fill(e, host)
	}
	c.mu.Unlock()
	select {
	case <-e.ready:
		return e.addrs, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fill looks a host up. It does not end with the request that asked first: others may wait for it too.
func (c *dnsCache) fill(e *dnsEntry, host string) {
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	ctx, cancel := context.WithTimeout(context.Background(), dnsTimeout)
	defer cancel()
	e.addrs, e.err = c.resolver.LookupNetIP(ctx, "ip", host)
	e.expires = time.Now().Add(dnsKept)
	if e.err == nil && len(e.addrs) == 0 {
		e.err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if e.err != nil {
		e.expires = time.Now().Add(dnsFailKept)
	}
	close(e.ready)
}

// dialer opens connections to addresses that are public, unless all are allowed.
type dialer struct {
	cache        *dnsCache
	allowPrivate bool
	timeout      time.Duration // of one connection, all addresses of its host together
}

// dial looks the host up and connects. The address that is connected to is checked when that happens, whatever name it
// came from: a name that is looked up twice may give two answers.
func (d *dialer) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	addrs, err := d.cache.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	n := net.Dialer{Control: d.control}
	var failed error
	tried := 0
	for _, a := range addrs {
		if err := d.check(a); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if tried++; tried > maxAddresses {
			break
		}
		one, stop := ctx, context.CancelFunc(func() {})
		if len(addrs) > 1 { // leave time for the others
			one, stop = context.WithTimeout(ctx, d.timeout/2)
		}
		conn, err := n.DialContext(one, network, net.JoinHostPort(a.Unmap().String(), port))
		stop()
		if err == nil {
			return conn, nil
		}
		failed = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// control checks the address of a connection just before it is made.
func (d *dialer) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %.80s", errForbidden, address)
	}
	return d.check(a.Addr())
}

func (d *dialer) check(a netip.Addr) error {
	if d.allowPrivate || public(a) {
		return nil
	}
	return fmt.Errorf("%w: %v is not public", errForbidden, a)
}
