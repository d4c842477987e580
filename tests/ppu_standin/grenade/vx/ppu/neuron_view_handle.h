// A stand-in for grenade's handle of the neurons of a population on one half; spikec's own.
#pragma once
#include "libnux/vx/vector_row.h"
#include <cstdlib>

extern volatile libnux::vx::PPUOnDLS ppu;

namespace grenade::vx::ppu {

struct NeuronViewHandle {
	typedef libnux::vx::VectorRowMod8 Row;
	libnux::vx::PPUOnDLS hemisphere;
	Row counters, readouts;

	Row get_rate_counters(bool reset)
	{
		Row const found = counters;
		if (reset) counters = Row(0);
		return found;
	}
	Row get_analog_readouts()
	{
		if (hemisphere != ::ppu) std::abort();
		return readouts;
	}
};

} // namespace grenade::vx::ppu
