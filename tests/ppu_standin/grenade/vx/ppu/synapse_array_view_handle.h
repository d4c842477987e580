// A stand-in for grenade's handle of the synapses of a projection on one half; spikec's own. Reads come from arrays.
#pragma once
#include "libnux/vx/vector_row.h"
#include <cstdlib>
#include <vector>

extern volatile libnux::vx::PPUOnDLS ppu;

namespace grenade::vx::ppu {

struct SynapseArrayViewHandle {
	typedef libnux::vx::VectorRowMod8 Row;
	struct CorrelationRow { Row causal, acausal; };
	libnux::vx::PPUOnDLS hemisphere;
	std::array<bool, 256> columns{};       // those of the view
	std::vector<size_t> rows;              // those of the view
	std::vector<Row> weights, causal, acausal;
	std::vector<int> resets;

	Row get_weights(size_t row) { check(row); return weights[row]; }
	void set_weights(Row const& value, size_t row)
	{
		check(row);
		for (size_t i = 0; i < Row::size; ++i) {
			if (!columns[i]) continue;
			if (value[i] > 63) std::abort();
			weights[row][i] = value[i];
		}
	}
	CorrelationRow get_correlation(size_t row, bool reset)
	{
		check(row);
		resets[row] += reset;
		return {causal[row], acausal[row]};
	}
	void reset_correlation(size_t row) { check(row); resets[row] += 1; }

private:
	void check(size_t row) const
	{
		if (hemisphere != ::ppu || row >= rows.size()) std::abort();
	}
};

} // namespace grenade::vx::ppu
