package cloudtrail

import (
	_ "embed" // for the table
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

//go:embed table.txt
var tableText string

// Row is a line of the table, which says what its columns mean.
type Row struct {
	Type    string   // Terraform's; aws_* for all that have no row
	Names   []string // attributes that name it in CloudTrail
	Service string   // without .amazonaws.com; * for any
	Events  []string // that write to it; * stands for any characters
	ByName  bool     // they are looked up by their names
}

// table are the rows of each type.
type table map[string][]Row

// anyType is the type of the row for types without one.
const anyType = "aws_*"

// builtIn is the table that comes with Plumbline.
var builtIn = sync.OnceValue(func() table {
	t, err := parseTable(tableText)
	if err != nil {
		panic(err) // a test reads it
	}
	return t
})

func parseTable(text string) (table, error) {
	t := table{}
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		byName := len(fields) == 5 && fields[4] == "by-name"
		if len(fields) != 4 && !byName {
			return nil, fmt.Errorf("table.txt:%d: a line is TYPE NAMES SERVICE EVENTS, and by-name or nothing", n)
		}
		row := Row{Type: fields[0], Names: strings.Split(fields[1], ","), Service: fields[2], Events: strings.Split(fields[3], ","), ByName: byName}
		if byName && strings.Contains(fields[3], "*") {
			return nil, fmt.Errorf("table.txt:%d: what is looked up by its name must have a whole one, without *", n)
		}
		if slices.ContainsFunc(t[row.Type], func(other Row) bool { return other.ByName == row.ByName }) {
			return nil, fmt.Errorf("table.txt:%d: %s has such a line already", n, row.Type)
		}
		t[row.Type] = append(t[row.Type], row)
	}
	return t, nil
}

// with is the table with rows in the place of those of the same type.
func (t table) with(rows []Row) table {
	if len(rows) == 0 {
		return t
	}
	more := table{}
	for _, row := range rows {
		more[row.Type] = append(more[row.Type], row)
	}
	for resourceType, rows := range t {
		if more[resourceType] == nil {
			more[resourceType] = rows
		}
	}
	return more
}

// of are the rows of a type.
func (t table) of(resourceType string) []Row {
	if rows := t[resourceType]; rows != nil {
		return rows
	}
	if strings.HasPrefix(resourceType, "aws_") {
		return t[anyType]
	}
	return nil
}

// lookup is one thing to ask CloudTrail for.
type lookup struct {
	what attribute
	// names are those of the resource, where an event must be searched for them.
	names []string
}

// attribute is what CloudTrail goes by.
type attribute struct {
	key   types.LookupAttributeKey
	value string
}

// lookups are what to ask for about a resource with these attributes.
func (r Row) lookups(values map[string]string) []lookup {
	var names []string
	for _, name := range r.Names {
		if value := values[name]; value != "" && !slices.Contains(names, value) {
			names = append(names, value)
		}
	}
	var all []lookup
	switch {
	case len(names) == 0:
	case r.ByName:
		for _, event := range r.Events {
			all = append(all, lookup{attribute{types.LookupAttributeKeyEventName, event}, names})
		}
	default:
		for _, name := range names {
			all = append(all, lookup{attribute{types.LookupAttributeKeyResourceName, name}, nil})
		}
	}
	return all
}

// counts reports whether an event is one that writes to the resource. What only reads or was refused is none of the records.
func (r Row) counts(e record, names []string) bool {
	if r.Service != "*" && e.Service != r.Service+".amazonaws.com" {
		return false
	}
	if names != nil && !slices.ContainsFunc(names, func(name string) bool { return e.named[name] }) {
		return false
	}
	return slices.ContainsFunc(r.Events, func(pattern string) bool { return fits(pattern, e.Name) })
}

// fits holds a name against a pattern in which * stands for any run of characters.
func fits(pattern, name string) bool {
	first, rest, open := strings.Cut(pattern, "*")
	if !open {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		_, after, found := strings.Cut(name, part)
		if !found {
			return false
		}
		name = after
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}
