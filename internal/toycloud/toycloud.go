// Package toycloud is a small cloud to try Plumbline on: an HTTP service on loopback with networks, clusters, nodes,
// buckets and images, which can be made as slow, unreliable and stubborn as real ones.
//
// [Serve] starts one. Terraform reaches it through the provider in the folder provider, and people or other processes
// through the HTTP API below /v1 (what a customer may do) and /admin (what an operator may do). A test in the same
// process calls the [Server] directly: it deletes a node or edits a bucket behind Terraform's back ([Server.Delete],
// [Server.EditBucket]), sets how the cloud behaves ([Server.SetBehaviour]), and asks afterwards what was really done
// and how often ([Server.Counters], [Server.Events]). [Server.Snapshot] and [Server.Restore] save and bring back
// everything that exists. Closing it, or ending the context that it was started with, ends the cloud; with
// Options.File the next one goes on where this one ended.
//
// Given a seed, the same requests get the same ids, addresses, keys and faults, in whatever order they arrive: what is
// random depends on the object and on how often it was asked for, never on who came first.
//
// It is not a cloud. Nothing runs on its nodes, its tokens protect nothing, and it listens on loopback only.
package toycloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options say how [Serve] starts a cloud. The zero value is an empty, fast and reliable cloud in memory.
type Options struct {
	// Address to listen on, a loopback host and a port. Default: 127.0.0.1 with a port that is free.
	Address string

	// Seed of everything that is made up: ids, addresses, keys, tokens, and which requests fail.
	Seed uint64

	// Token may do everything below /v1, ReadToken may only read there, AdminToken may do everything below /admin.
	// Default: made from the seed.
	Token, ReadToken, AdminToken string

	// Behaviour to begin with; see [Server.SetBehaviour].
	Behaviour Behaviour

	// File to keep the cloud in, as JSON with mode 0600. It is read at the start if it exists, and written before each
	// change is answered, as a whole: fit for a demo, slow with many thousands of objects. Default: memory only.
	File string

	// Now tells the time, for time stamps, throttling and the autoscaler. Default: time.Now.
	Now func() time.Time
}

// Server is a running toy cloud. Its methods may be called from several goroutines.
type Server struct {
	// URL of the service, such as http://127.0.0.1:8080, without a slash at the end.
	URL string

	// Tokens that the service accepts; see [Options].
	Token, ReadToken, AdminToken string

	cloud   *cloud
	http    *http.Server
	closing context.Context // ended when the server closes, so that no answer waits for its latency
	close   func() error
}

// Serve starts a toy cloud and returns when it can be reached. It runs until [Server.Close] is called or ctx ends.
//
// It fails when the address is not a loopback one or is taken, when the behaviour is not valid, and when the file of
// an earlier cloud cannot be read.
func Serve(ctx context.Context, opts Options) (*Server, error) {
	if opts.Address == "" {
		opts.Address = "127.0.0.1:0"
	}
	if err := checkLoopback(opts.Address); err != nil {
		return nil, err
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := newCloud(opts.Seed, opts.Now)
	if err := c.setBehaviour(opts.Behaviour); err != nil {
		return nil, err
	}
	if opts.File != "" {
		if err := c.keepIn(opts.File); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", opts.Address)
	if err != nil {
		return nil, fmt.Errorf("start the toy cloud: %w (choose another address, or port 0 for any that is free)", err)
	}

	closing, cancel := context.WithCancel(ctx)
	s := &Server{
		URL:        "http://" + listener.Addr().String(),
		Token:      orElse(opts.Token, c.secret("token", "api")),
		ReadToken:  orElse(opts.ReadToken, c.secret("token", "read")),
		AdminToken: orElse(opts.AdminToken, c.secret("token", "admin")),
		cloud:      c,
		closing:    closing,
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(listener) }()
	s.close = sync.OnceValue(func() error {
		cancel()
		grace, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		err := s.http.Shutdown(grace)
		if err != nil {
			err = errors.Join(err, s.http.Close())
		}
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		if err != nil {
			return fmt.Errorf("stop the toy cloud: %w", err)
		}
		return nil
	})
	// Close cancels this context itself; the second call is then a no-op.
	context.AfterFunc(closing, func() { _ = s.close() })
	return s, nil
}

// Close stops the cloud and waits until the requests that it had begun are answered. Closing it again does nothing.
func (s *Server) Close() error { return s.close() }

// Delete removes an object, and all that belongs to it, behind Terraform's back: a cluster goes with its nodes, a
// network with its clusters. The object is named by its id, or by a name that no other of its kind has.
func (s *Server) Delete(kind Kind, ref string) error { return s.cloud.outsideDelete(kind, ref) }

// Add creates an object behind Terraform's back, such as &Bucket{Name: "logs"}, and returns its id.
func (s *Server) Add(o Object) (id string, err error) { return s.cloud.outsideAdd(o) }

// EditNetwork changes a network behind Terraform's back. As with [Server.Delete] it is named by id or unique name; the
// change may touch what a customer cannot, such as the CIDR, but neither id nor name. The same holds for the other
// edits.
func (s *Server) EditNetwork(ref string, change func(*Network)) error {
	return outsideEdit(s.cloud, Networks, ref, change)
}

// EditCluster changes a cluster behind Terraform's back; see [Server.EditNetwork].
func (s *Server) EditCluster(ref string, change func(*Cluster)) error {
	return outsideEdit(s.cloud, Clusters, ref, change)
}

// EditNode changes a node behind Terraform's back; see [Server.EditNetwork].
func (s *Server) EditNode(ref string, change func(*Node)) error {
	return outsideEdit(s.cloud, Nodes, ref, change)
}

// EditBucket changes a bucket behind Terraform's back; see [Server.EditNetwork].
func (s *Server) EditBucket(ref string, change func(*Bucket)) error {
	return outsideEdit(s.cloud, Buckets, ref, change)
}

// EditImage publishes another release of an image; see [Server.EditNetwork].
func (s *Server) EditImage(ref string, change func(*Image)) error {
	return outsideEdit(s.cloud, Images, ref, change)
}

// Behaviour returns how the cloud behaves now. The Next of a rule is what is left of it.
func (s *Server) Behaviour() Behaviour { return s.cloud.currentBehaviour() }

// SetBehaviour changes how the cloud behaves from the next request on, and starts its chances anew. It fails, and
// changes nothing, when a rule cannot be meant.
func (s *Server) SetBehaviour(b Behaviour) error { return s.cloud.setBehaviour(b) }

// Counters returns what the API has been asked for and has done since the start or the last [Server.ResetCounters].
func (s *Server) Counters() Counters { return s.cloud.counters() }

// ResetCounters sets all counters to zero.
func (s *Server) ResetCounters() { s.cloud.resetCounters() }

// Events returns what happened after the event with the given number, oldest first; 0 asks for all that are kept.
func (s *Server) Events(after int) []Event { return s.cloud.eventsAfter(after) }

// Snapshot returns everything that exists, in the order of the ids.
func (s *Server) Snapshot() Snapshot { return s.cloud.snapshot() }

// Restore makes the cloud hold what a snapshot holds and nothing else. Counters, events and behaviour stay. It fails,
// and changes nothing, when the snapshot does not fit together.
func (s *Server) Restore(snap Snapshot) error { return s.cloud.restore(snap) }

func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("start the toy cloud on %q: %w (write it as 127.0.0.1:8080)", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("start the toy cloud on %q: its tokens protect nothing, so it listens on loopback only (use 127.0.0.1)", address)
	}
	return nil
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}
