package drift

import "time"

// Trace is something that was done to a real object, as its cloud's own log tells it. It is a hint for people and decides
// nothing: it happened to the object of a finding while that can have come to be, and need not be what changed the attributes.
type Trace struct {
	At time.Time `json:"at"`
	// By is who did it, mostly by an ARN, and From where the request came from: an IP address, or a service of the cloud.
	By   string `json:"by"`
	From string `json:"from,omitempty"`
	// Event is what was asked for, and Service of whom: StopInstances, of ec2.amazonaws.com.
	Event   string `json:"event"`
	Service string `json:"service"`
}
