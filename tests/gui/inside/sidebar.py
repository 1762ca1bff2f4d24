"""The tab *Dub* of the sequencer's sidebar, found with the mouse.

Blender tells nobody where its buttons are. It does tell what lies under the
mouse, so the mouse goes over the panel until it meets what it looks for.
"""

import bpy
from hands import Stuck, area, region

STEP = 9
MARGIN = 60
PANELS = "POSEDUB_PT_"
COLUMNS = (0.5, -19, -41)
"""Where buttons are looked for: the middle, and the last icons of a row, pixels from the right."""


class Sidebar:
    """The sidebar; a button is named by its operator as Python writes it, a field by its data path."""

    def __init__(self, hands):
        self.hands = hands
        self.drawn = set()
        for name in filter(lambda name: name.startswith(PANELS), dir(bpy.types)):
            self._observe(name, getattr(bpy.types, name))

    def _observe(self, name, panel):
        """Take note of each drawing: a folded panel is not drawn."""
        draw = panel.draw

        def noting(drawing, context):
            self.drawn.add(name)
            draw(drawing, context)

        panel.draw = noting

    @property
    def region(self):
        return region(area("SEQUENCE_EDITOR"), "UI")

    def open(self):
        """Show the sidebar (key N) and its tab."""
        one = area("SEQUENCE_EDITOR")
        yield from self.hands.move(one.x + one.width / 2, one.y + one.height / 2)
        if not one.spaces.active.show_region_ui:
            yield from self.hands.key("N")
        for _ in range(5):
            yield
        self.region.active_panel_category = "Dub"  # tabs do not tell where they are
        for _ in range(5):
            yield

    def under_mouse(self):
        """What the button under the mouse does or sets; "" where there is none."""
        one = area("SEQUENCE_EDITOR")
        manager = bpy.context.window_manager
        with bpy.context.temp_override(window=manager.windows[0], area=one, region=self.region):
            field = bpy.context.property
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
                return manager.clipboard
        return field[1] if field else ""

    def _rows(self):
        return range(self.region.height - STEP, STEP, -STEP)

    def _sweep(self, wanted):
        """The first place, from the top, at which `wanted` is part of what lies there; None when it is nowhere."""
        for y in self._rows():
            for column in COLUMNS:
                x = self.region.width * column if 0 < column < 1 else self.region.width + column
                yield from self.hands.move(self.region.x + x, self.region.y + y)
                if wanted in self.under_mouse():
                    yield from self.hands.move(self.hands.at[0], self.hands.at[1] - STEP // 2)
                    if wanted not in self.under_mouse():
                        yield from self.hands.move(self.hands.at[0], self.hands.at[1] + STEP // 2)
                    return self.hands.at
        return None

    def scroll(self, wheel, turns):
        """Turn the wheel over the sidebar."""
        yield from self.hands.move(self.region.x + MARGIN, self.region.y + self.region.height / 2)
        for _ in range(turns):
            yield from self.hands.key(wheel)

    def find(self, wanted):
        """Window position of a button, scrolled to if need be; raises Stuck."""
        for turns in (0, 6, 6, 6):
            yield from self.scroll("WHEELDOWNMOUSE", turns)
            if found := (yield from self._sweep(wanted)):
                return found
        yield from self.scroll("WHEELUPMOUSE", 30)
        if found := (yield from self._sweep(wanted)):
            return found
        raise Stuck(f"The sidebar has no button or field {wanted}.")

    def press(self, wanted):
        """Click a button."""
        yield from self.hands.click(*(yield from self.find(wanted)))

    def unfold(self, name):
        """Open a folded panel: headers are not told either, so click rows until it is drawn."""
        for turns in (0, 8, 8):
            yield from self.scroll("WHEELDOWNMOUSE", turns)
            for y in self._rows():
                if (yield from self._toggles(name, y)):
                    return
        raise Stuck(f"The panel {name} does not unfold.")

    def _toggles(self, name, y):
        x = self.region.x + MARGIN
        yield from self.hands.move(x, self.region.y + y)
        if self.under_mouse():
            return False
        before = yield from self._shown()
        if name in before:
            return True
        yield from self.hands.click(x, self.region.y + y)
        after = yield from self._shown()
        if name not in after and after != before:
            yield from self.hands.click(x, self.region.y + y)  # another panel: as it was
        return name in after

    def _shown(self):
        self.drawn.clear()
        self.region.tag_redraw()
        while not self.drawn:
            yield
        return set(self.drawn)
