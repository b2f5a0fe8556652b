package main

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plumbline-dev/plumbline/internal/schedule"
	"github.com/plumbline-dev/plumbline/runner/engine"
)

// Defaults of what server.yaml says about drift.
const (
	defaultDriftEvery       = "1h"
	defaultDriftShare       = 0.5
	defaultStartsPerMinute  = 60
	defaultStartsOfAll      = 300
	defaultFightWithin      = 24 * time.Hour
	defaultFightAfter       = 3
	maxFightWithin          = 90 * 24 * time.Hour
	maxFightAfter           = 100
	exampleOfDriftEveryFix  = `write an interval such as 15m or 1d, a cron line such as "0 6 * * *", or off`
	exampleOfDriftShareFix  = "write a part of all workers from 0.01 to 1, such as 0.5"
	exampleOfFightWithinFix = "write a time from 1m to 90d, such as 24h or 7d"
)

// Keys of server.yaml below drift.
var (
	driftKeys = []string{"every", "share", "starts_per_minute", "starts_per_minute_of_all", "correct", "fight"}
	fightKeys = []string{"within", "after"}
)

// drift reads how drift is looked for.
func (r *configReader) drift(n *yaml.Node) engine.DriftOptions {
	var values, fight map[string]*yaml.Node
	if n != nil {
		values = r.mapping(n, "drift", driftKeys...)
	}
	if f := values["fight"]; f != nil {
		fight = r.mapping(f, "fight", fightKeys...)
	}
	get := func(key string) setting { return r.scalar(values[key], key, false) }
	o := engine.DriftOptions{Every: defaultDriftEvery, Share: defaultDriftShare, FightWithin: defaultFightWithin}
	if every := get("every"); every.set {
		text := every.text
		if text == "false" { // what YAML makes of off
			text = "off"
		}
		if _, err := schedule.ParseEvery(text); err != nil {
			r.wrong(every.place, exampleOfDriftEveryFix, "every is %s", shown(every.written))
		} else {
			o.Every = strings.TrimSpace(text)
		}
	}
	if share := get("share"); share.set {
		part, err := strconv.ParseFloat(share.text, 64)
		if err != nil || !(part >= 0.01 && part <= 1) {
			r.wrong(share.place, exampleOfDriftShareFix, "share is %s", shown(share.written))
		} else {
			o.Share = part
		}
	}
	o.Rates.Account = schedule.Rate(r.number(get("starts_per_minute"), "starts_per_minute", 0, schedule.MaxRate, defaultStartsPerMinute))
	o.Rates.Total = schedule.Rate(r.number(get("starts_per_minute_of_all"), "starts_per_minute_of_all", 0, schedule.MaxRate, defaultStartsOfAll))
	o.Correct = r.choice(get("correct"), "setting correct", "true", "true", "false") == "true"
	if within := r.scalar(fight["within"], "within", false); within.set {
		every, err := schedule.ParseEvery(within.text)
		now := time.Unix(0, 0)
		next, ok := every.Next(now)
		if err != nil || !ok || strings.Contains(within.text, " ") || next.Sub(now) > maxFightWithin {
			r.wrong(within.place, exampleOfFightWithinFix, "within is %s", shown(within.written))
		} else {
			o.FightWithin = next.Sub(now)
		}
	}
	o.FightAfter = r.number(r.scalar(fight["after"], "after", false), "after", 1, maxFightAfter, defaultFightAfter)
	return o
}
