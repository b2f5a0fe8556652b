package signin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// How often one address, and all together, may do in a minute what costs others something: have a provider asked who somebody
// is, or try a token.
const (
	perAddress   = 30
	perMinute    = 600
	mostCounting = 20_000 // addresses that are counted
)

// limits count by address, in each minute anew.
type limits struct {
	now func() time.Time

	mu     sync.Mutex
	minute int64
	total  int
	counts map[netip.Prefix]int
}

// allow counts one try, and reports whether it may be made.
func (l *limits) allow(req *http.Request) bool {
	from := address(req)
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := l.now().Unix() / 60; minute != l.minute || l.counts == nil {
		l.minute, l.total, l.counts = minute, 0, map[netip.Prefix]int{}
	}
	if _, known := l.counts[from]; !known && len(l.counts) >= mostCounting {
		return false
	}
	if l.counts[from] >= perAddress || l.total >= perMinute {
		return false
	}
	l.counts[from]++
	l.total++
	return true
}

// address is where a request comes from: what a proxy on this machine says, or else the other end of the connection. Of an IPv6
// address it is the network: one machine has a whole one.
func address(req *http.Request) netip.Prefix {
	text, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		text = req.RemoteAddr
	}
	ip, err := netip.ParseAddr(text)
	if err == nil && ip.IsLoopback() {
		if all := req.Header.Values("X-Forwarded-For"); len(all) > 0 {
			hops := strings.Split(all[len(all)-1], ",") // the last one is the proxy's own word
			if said, err := netip.ParseAddr(strings.TrimSpace(hops[len(hops)-1])); err == nil {
				ip = said
			}
		}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	from, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return from
}
