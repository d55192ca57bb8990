package handler

import (
	"context"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/server"
)

// updateFeatures answers UpdateFeatures (KIP-584, KIP-778): all of the updates are made, or none.
type updateFeatures struct {
	log    zerolog.Logger
	broker context.Context
	store  catalogStore
}

// The types of updates (FeatureUpdate.UpgradeType).
const (
	upgrade         = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

// resultsUntil is up to when UpdateFeatures answers about each feature.
const resultsUntil = 1

func (h *updateFeatures) handle(_ context.Context, _ *server.Client, req *kmsg.UpdateFeaturesRequest) *kmsg.UpdateFeaturesResponse {
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	var refused *apiError
	_, err := commitJudged(h.broker, h.store, func(image *catalog.Image) (changes []catalog.Change) {
		if changes, refused = judgeFeatures(image, req); req.ValidateOnly {
			return nil
		}
		return changes
	})
	switch {
	case err != nil:
		h.log.Error().Err(err).Msg("features could not be updated")
		refused = plain(errorOf(err))
		resp.ErrorCode, resp.ErrorMessage = refused.code.Code, refused.message()
		return resp
	case refused != nil:
		resp.ErrorCode = refused.code.Code
		resp.ErrorMessage = kmsg.StringPtr("The update failed for all features since the following feature had an error: " + refused.text)
		return resp
	}
	for _, u := range req.FeatureUpdates {
		if !req.ValidateOnly {
			h.log.Info().Str("feature", u.Feature).Int16("version", u.MaxVersionLevel).Msg("feature updated")
		}
		if req.Version <= resultsUntil {
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature})
		}
	}
	return resp
}

// judgeFeatures returns the changes that are asked for, or why there can be none.
func judgeFeatures(image *catalog.Image, req *kmsg.UpdateFeaturesRequest) (changes []catalog.Change, refused *apiError) {
	for _, u := range req.FeatureUpdates {
		kind := u.UpgradeType
		if req.Version < 1 {
			kind = upgrade
			if u.AllowDowngrade {
				kind = safeDowngrade
			}
		}
		if why := judgeFeature(image, u.Feature, u.MaxVersionLevel, kind); why != "" {
			return nil, failure(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.MaxVersionLevel, u.Feature, why)
		}
		changes = append(changes, catalog.SetFeature{Name: u.Feature, Level: u.MaxVersionLevel})
	}
	return changes, nil
}

// judgeFeature says why the version of a feature cannot be changed (Kafka's FeatureControlManager.updateFeature).
func judgeFeature(image *catalog.Image, name string, level int16, kind int8) string {
	f, known := catalog.FeatureNamed(name)
	now := image.FeatureLevel(name)
	switch {
	case kind < upgrade || kind > unsafeDowngrade:
		return "The controller does not support the given upgrade type."
	case level < 0:
		return "A feature version cannot be less than 0."
	case !known:
		return "This broker does not support this feature."
	case level < f.Min || level > f.Max:
		return failure(kerr.InvalidUpdateVersion, "This broker only supports versions %d-%d", f.Min, f.Max).text
	case level < now && kind == upgrade:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	case level > now && kind != upgrade:
		return "Can't downgrade to a newer version."
	}
	return ""
}
