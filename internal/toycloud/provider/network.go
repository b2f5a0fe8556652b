package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/plumbline-dev/plumbline/internal/toycloud"
)

type networkModel struct {
	ID      types.String `tfsdk:"id"`
	Name    types.String `tfsdk:"name"`
	CIDR    types.String `tfsdk:"cidr"`
	Created types.String `tfsdk:"created"`
}

func newNetwork() resource.Resource {
	return &crud[toycloud.Network, networkModel, *networkModel]{kind: toycloud.Networks, schema: schema.Schema{
		MarkdownDescription: "A range of addresses.",
		Attributes: map[string]schema.Attribute{
			"id":      computed("Id that the cloud gave it."),
			"name":    name(),
			"cidr":    fixed("Its addresses, such as `10.0.0.0/16`.", checked{"a range of addresses", toycloud.CheckCIDR}),
			"created": computed("When it was created, in RFC 3339."),
		},
	}}
}

func (m *networkModel) identity() (string, string) { return m.ID.ValueString(), m.Name.ValueString() }

func (m *networkModel) wanted(context.Context) (toycloud.Network, diag.Diagnostics) {
	return toycloud.Network{Meta: toycloud.Meta{Name: m.Name.ValueString()}, CIDR: m.CIDR.ValueString()}, nil
}

func (m *networkModel) written(o toycloud.Network) {
	m.ID, m.Created = types.StringValue(o.ID), createdAt(o.Meta)
}

func (m *networkModel) refreshed(_ context.Context, o toycloud.Network) diag.Diagnostics {
	m.written(o)
	m.Name, m.CIDR = types.StringValue(o.Name), types.StringValue(o.CIDR)
	return nil
}
