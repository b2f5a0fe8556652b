package planstore

import "sync"

// seenLimit bounds what a store remembers: a few megabytes.
const seenLimit = 20_000

// seen remembers where objects are, by kind and id, so that an id need not be looked for in a listing. Its zero value is
// empty. An object never moves; one that was deleted elsewhere is found out when it is read.
type seen struct {
	mu sync.Mutex
	at map[string]entry
}

func (s *seen) add(entries ...entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if s.at == nil || len(s.at) >= seenLimit {
			s.at = make(map[string]entry)
		}
		s.at[e.kind.name+" "+e.id] = e
	}
}

func (s *seen) get(k kind, id string) (entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.at[k.name+" "+id]
	return e, ok
}

func (s *seen) forget(e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, e.kind.name+" "+e.id)
}
