// A stand-in for libnux's selection by a condition on each element; spikec's own.
#pragma once
#include "libnux/vx/vector_row.h"

namespace libnux::vx {

enum class VectorIfCondition { greater, lesser };

template <typename Mask, typename Value>
Value vector_if(Mask const& mask, VectorIfCondition condition, Value const& yes, Value const& no)
{
	Value found;
	for (size_t i = 0; i < Value::size; ++i) {
		found[i] = (condition == VectorIfCondition::greater ? mask[i] > 0 : mask[i] < 0) ? yes[i] : no[i];
	}
	return found;
}

} // namespace libnux::vx
