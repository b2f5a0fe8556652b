package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

type clusterModel struct {
	ID      types.String `tfsdk:"id"`
	Name    types.String `tfsdk:"name"`
	Network types.String `tfsdk:"network"`
	Version types.String `tfsdk:"version"`
	Size    types.Int64  `tfsdk:"size"`
	Created types.String `tfsdk:"created"`
}

func newCluster() resource.Resource {
	return &crud[toycloud.Cluster, clusterModel, *clusterModel]{kind: toycloud.Clusters, schema: schema.Schema{
		MarkdownDescription: "A cluster, to which nodes belong.",
		Attributes: map[string]schema.Attribute{
			"id":      computed("Id that the cloud gave it."),
			"name":    name(),
			"network": fixed("Name or id of its network, which must exist when the cluster is created."),
			"version": schema.StringAttribute{Required: true, MarkdownDescription: "Version of its software."},
			"size": schema.Int64Attribute{
				Optional: true, Computed: true,
				MarkdownDescription: "Size that an autoscaler aims at, 1 to 1000. Left out, the cloud decides, and may change its mind.",
				PlanModifiers:       []planmodifier.Int64{int64planmodifier.UseStateForUnknown()},
			},
			"created": computed("When it was created, in RFC 3339."),
		},
	}}
}

func (m *clusterModel) identity() (string, string) { return m.ID.ValueString(), m.Name.ValueString() }

func (m *clusterModel) wanted(context.Context) (toycloud.Cluster, diag.Diagnostics) {
	return toycloud.Cluster{
		Meta:    toycloud.Meta{Name: m.Name.ValueString()},
		Network: m.Network.ValueString(),
		Version: m.Version.ValueString(),
		Size:    int(m.Size.ValueInt64()),
	}, nil
}

func (m *clusterModel) written(o toycloud.Cluster) {
	m.ID, m.Created = types.StringValue(o.ID), createdAt(o.Meta)
	if m.Size.IsUnknown() {
		m.Size = types.Int64Value(int64(o.Size))
	}
}

func (m *clusterModel) refreshed(_ context.Context, o toycloud.Cluster) diag.Diagnostics {
	m.written(o)
	m.Name, m.Network, m.Version = types.StringValue(o.Name), types.StringValue(o.Network), types.StringValue(o.Version)
	m.Size = types.Int64Value(int64(o.Size))
	return nil
}
