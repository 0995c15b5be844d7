package download

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// errForbidden is wrapped by errors about addresses that no request may go to.
var errForbidden = errors.New("address of a private network")

// notPublic are the networks beside those that netip.Addr knows by name that do not belong to the public internet.
//
// Source: IANA's registries of special-purpose addresses, for IPv4 and IPv6.
var notPublic = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8",       // this network
		"100.64.0.0/10",   // shared by the customers of a provider (CGNAT)
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // 6to4 relays
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved, and broadcast
		"2001::/23",       // protocol assignments, Teredo among them
		"2001:db8::/32",   // documentation
		"3fff::/20",       // documentation
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // the last 32 bits are an IPv4 address
	sixToFour     = netip.MustParsePrefix("2002::/16")    // bits 16 to 47 are one
)

// public tells whether an address belongs to the public internet. One that holds an IPv4 address is what that is.
func public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if a.Is6() {
		b := a.As16()
		switch {
		case nat64.Contains(a):
			return public(netip.AddrFrom4([4]byte(b[12:])))
		case sixToFour.Contains(a):
			return public(netip.AddrFrom4([4]byte(b[2:6])))
		case !globalUnicast.Contains(a):
			return false
		}
	}
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// checkURL reads the address of a row or of a redirection, and refuses what no request is made of. Names and passwords
// in it are dropped, and so is the fragment.
func checkURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("no address")
	}
	if len(s) > maxURL {
		return nil, fmt.Errorf("address longer than %d bytes", maxURL)
	}
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil {
		return nil, errors.New("address not valid")
	}
	return u, checkParts(u)
}

func checkParts(u *url.URL) error {
	u.Scheme = strings.ToLower(u.Scheme)
	switch host := u.Hostname(); {
	case u.Scheme == "":
		return errors.New("address not valid: want http:// or https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("address of another kind than http or https: %.20s", u.Scheme)
	case u.Opaque != "" || host == "" || strings.ContainsAny(host, "%/\\@ \t\r\n\x00"):
		return errors.New("address not valid: no host")
	case len(host) > 253:
		return errors.New("address not valid: its host is longer than 253 bytes")
	case unusualIP(host):
		return fmt.Errorf("%w: %.40s is a number, want a name or an address as usually written", errForbidden, host)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("address not valid: port %.20q", p)
		}
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return nil
}

// unusualIP tells whether a host is a number that some programs take for an IPv4 address: 2130706433, 0177.0.0.1,
// 0x7f.1, 127.1. No name ends in a label of digits (RFC 3696, section 2).
func unusualIP(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last == "" || strings.Trim(last, "0123456789") == ""
}

// hostOf returns the host of an address as limits and summaries know it: its name in lower case, and its port where
// it is not that of the scheme. "" is no host.
func hostOf(u *url.URL) string {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	p := u.Port()
	if p == "" || u.Scheme == "http" && p == "80" || u.Scheme == "https" && p == "443" {
		return host
	}
	return host + ":" + p
}
