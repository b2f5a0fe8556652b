package database

import (
	"context"
	"database/sql"
	"encoding/json"
	"sync"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// A job is inserted in a transaction, and River's clients on database/sql do not hear when it is committed: they would
// have to ask over and over, which costs a process that is idle, and whoever waits half of the pause. So a DB has a bell.
// Wake notes for a transaction which queues it put jobs into, the end of Tx rings it, and River hears of it through the
// door that it has for PostgreSQL's LISTEN: a riverdriver.Listener. That reaches the clients of this process; those of
// others find the job at their next poll.
//
// River does not promise to keep riverdriver's interfaces. What is used of them is small, and a test of the suite fails
// when a job has to wait for a poll.

// insertTopic is what River calls the news of a job.
const insertTopic = "river_insert"

// bell tells listeners which queues have new jobs.
type bell struct {
	mu        sync.Mutex
	noted     map[*sql.Tx][]string
	listeners map[*listener]bool
}

// Wake has the clients of this process look for jobs in the queues as soon as the transaction has ended. Without it a job
// that the transaction inserts waits for the next poll.
func (db *DB) Wake(tx *sql.Tx, queues ...string) {
	db.bell.mu.Lock()
	defer db.bell.mu.Unlock()
	if db.bell.noted == nil {
		db.bell.noted = map[*sql.Tx][]string{}
	}
	db.bell.noted[tx] = append(db.bell.noted[tx], queues...)
}

// ring tells the listeners what was noted for a transaction. One that was not committed costs them a look.
func (b *bell) ring(tx *sql.Tx) {
	b.mu.Lock()
	defer b.mu.Unlock()
	queues := b.noted[tx]
	delete(b.noted, tx)
	if len(queues) == 0 {
		return
	}
	for l := range b.listeners {
		l.hear(queues)
	}
}

func (b *bell) add(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[*listener]bool{}
	}
	b.listeners[l] = true
}

func (b *bell) remove(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.listeners, l)
}

// listener hears the bell for one client of the queue. What was heard waits until it is asked for, so that nothing is
// lost while River looks after its listener.
type listener struct {
	bell *bell

	mu    sync.Mutex
	heard map[string]bool
	some  chan struct{} // holds one if something may have been heard
}

func newListener(b *bell) *listener {
	return &listener{bell: b, heard: map[string]bool{}, some: make(chan struct{}, 1)}
}

func (l *listener) hear(queues []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, queue := range queues {
		l.heard[queue] = true
	}
	l.signal()
}

func (l *listener) signal() {
	select {
	case l.some <- struct{}{}:
	default:
	}
}

// WaitForNotification returns a queue that has new jobs, as soon as there is one.
func (l *listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.some:
		}
		queue, ok := l.take()
		if !ok {
			continue // it was heard once more while it was taken
		}
		payload, err := json.Marshal(map[string]string{"queue": queue})
		return &riverdriver.Notification{Topic: insertTopic, Payload: string(payload)}, err
	}
}

func (l *listener) take() (queue string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for queue = range l.heard {
		delete(l.heard, queue)
		if len(l.heard) > 0 {
			l.signal()
		}
		return queue, true
	}
	return "", false
}

func (l *listener) Connect(context.Context) error {
	l.bell.add(l)
	return nil
}

func (l *listener) Close(context.Context) error {
	l.bell.remove(l)
	return nil
}

func (l *listener) Listen(context.Context, string) error   { return nil }
func (l *listener) Unlisten(context.Context, string) error { return nil }
func (l *listener) Ping(context.Context) error             { return nil }
func (l *listener) Schema() string                         { return "" }
func (l *listener) SetAfterConnectExec(string)             {}

// The drivers are River's own, with the bell for a listener.
type (
	sqliteDriver struct {
		*riversqlite.Driver
		bell *bell
	}
	postgresDriver struct {
		*riverdatabasesql.Driver
		bell *bell
	}
)

func (d sqliteDriver) SupportsListener() bool   { return true }
func (d postgresDriver) SupportsListener() bool { return true }

func (d sqliteDriver) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return newListener(d.bell)
}

func (d postgresDriver) GetListener(*riverdriver.GetListenenerParams) riverdriver.Listener {
	return newListener(d.bell)
}
