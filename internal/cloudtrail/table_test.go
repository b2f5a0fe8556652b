package cloudtrail

import (
	"regexp"
	"strings"
	"testing"
)

// TestTableCanBeRead holds each line of the table to its form.
func TestTableCanBeRead(t *testing.T) {
	rows, err := parseTable(tableText)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < 50 || len(rows[anyType]) != 1 {
		t.Errorf("the table has %d types", len(rows))
	}
	var (
		typeForm = regexp.MustCompile(`^aws_([a-z0-9_]+|\*)$`)
		nameForm = regexp.MustCompile(`^[a-z0-9_]+$`)
		service  = regexp.MustCompile(`^([a-z0-9]+|\*)$`)
		event    = regexp.MustCompile(`^(\*|[A-Z][A-Za-z0-9]+(\*[A-Za-z0-9]*)*)$`)
	)
	last := ""
	for line := range strings.Lines(tableText) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" || fields[0] == anyType {
			continue
		}
		if fields[0] < last {
			t.Errorf("%s stands behind %s: keep them in order", fields[0], last)
		}
		last = fields[0]
	}
	for name, of := range rows {
		for _, r := range of {
			if !typeForm.MatchString(r.Type) || r.Type != name || !service.MatchString(r.Service) {
				t.Errorf("%+v is no row", r)
			}
			for _, n := range r.Names {
				if !nameForm.MatchString(n) {
					t.Errorf("%s: %q is no attribute", name, n)
				}
			}
			seen := map[string]bool{}
			for _, e := range r.Events {
				if !event.MatchString(e) || seen[e] {
					t.Errorf("%s: %q is no event, or stands there twice", name, e)
				}
				seen[e] = true
			}
			if of[0].Service != r.Service {
				t.Errorf("%s has two services", name)
			}
		}
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"aws_x id ec2": "a line is TYPE NAMES SERVICE EVENTS",
		"# one\n\naws_x id ec2 Modify by-name more": "table.txt:3: a line is",
		"aws_x id ec2 Modify byname":                "a line is",
		"aws_x id ec2 Modify* by-name":              "must have a whole one",
		"aws_x id ec2 A\naws_x id ec2 B":            "aws_x has such a line already",
	} {
		if _, err := parseTable(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"StopInstances", "StopInstances", true},
		{"StopInstances", "StopInstance", false},
		{"Modify*", "ModifyInstanceAttribute", true},
		{"Modify*", "Modify", true},
		{"Modify*", "UnModify", false},
		{"Assign*Addresses", "AssignPrivateIpAddresses", true},
		{"Assign*Addresses", "AssignPrivateIpAddress", false},
		{"A*b*c", "Axbxc", true},
		{"A*b*c", "Axcxb", false},
		{"A*b*bc", "Axbc", false},
		{"*", "Anything", true},
	} {
		if got := fits(c.pattern, c.name); got != c.want {
			t.Errorf("fits(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}
